{{- define "kiam.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kiam.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 56 | trimSuffix "-" -}}
{{- else if contains (include "kiam.name" .) .Release.Name -}}
{{- .Release.Name | trunc 56 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kiam.name" .) | trunc 56 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The names below take (dict "root" $ "part" "agent"|"server"). */}}
{{- define "kiam.values" -}}
{{- index .root.Values .part | toYaml -}}
{{- end -}}

{{- define "kiam.serviceAccount" -}}
{{- $account := index .root.Values.serviceAccounts .part -}}
{{- default (printf "%s-%s" (include "kiam.fullname" .root) .part) $account.name -}}
{{- end -}}

{{/* Kiam's chart's own selector: it cannot be changed in place, and an upgrade from that chart is one in place. */}}
{{- define "kiam.selector" -}}
{{- $values := index .root.Values .part -}}
app: {{ include "kiam.name" .root }}
component: {{ $values.name | quote }}
release: {{ .root.Release.Name }}
{{- end -}}

{{- define "kiam.labels" -}}
{{ include "kiam.selector" . }}
chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
heritage: {{ .root.Release.Service }}
{{- end -}}

{{- define "kiam.tlsGiven" -}}
{{- $values := index .root.Values .part -}}
{{- if or $values.tlsFiles.ca $values.tlsFiles.cert $values.tlsFiles.key -}}
{{- if not (and $values.tlsFiles.ca $values.tlsFiles.cert $values.tlsFiles.key) -}}
{{- fail (printf "%s.tlsFiles needs ca, cert and key" .part) -}}
{{- end -}}
yes
{{- end -}}
{{- end -}}

{{- define "kiam.secret" -}}
{{- $values := index .root.Values .part -}}
{{- if $values.tlsSecret -}}
{{- $values.tlsSecret -}}
{{- else if include "kiam.tlsGiven" . -}}
{{- printf "%s-%s" (include "kiam.fullname" .root) .part -}}
{{- else -}}
{{- printf "kiam-%s-tls" .part -}}
{{- end -}}
{{- end -}}

{{/* The names of the three files, as YAML. */}}
{{- define "kiam.files" -}}
{{- $values := index .root.Values .part -}}
{{- $names := dict "cert" (printf "%s.pem" .part) "key" (printf "%s-key.pem" .part) "ca" "ca.pem" -}}
{{- if or $values.tlsSecret (include "kiam.tlsGiven" .) -}}
{{- $names = dict "cert" "cert" "key" "key" "ca" "ca" -}}
{{- else if .root.Values.certManager.enabled -}}
{{- $names = dict "cert" "tls.crt" "key" "tls.key" "ca" "ca.crt" -}}
{{- end -}}
cert: {{ default $names.cert $values.tlsCerts.certFileName }}
key: {{ default $names.key $values.tlsCerts.keyFileName }}
ca: {{ default $names.ca $values.tlsCerts.caFileName }}
{{- end -}}

{{- define "kiam.extraArgs" -}}
{{- range $key, $value := . }}
{{- if or (kindIs "invalid" $value) (eq (toString $value) "") }}
- {{ printf "--%s" $key | quote }}
{{- else }}
- {{ printf "--%s=%s" $key (toString $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "kiam.tlsArgs" -}}
{{- $files := include "kiam.files" . | fromYaml -}}
- --cert=/etc/kiam/tls/{{ $files.cert }}
- --key=/etc/kiam/tls/{{ $files.key }}
- --ca=/etc/kiam/tls/{{ $files.ca }}
{{- end -}}

{{- define "kiam.image" -}}
{{- $values := index .root.Values .part -}}
image: "{{ $values.image.repository }}:{{ default .root.Chart.AppVersion $values.image.tag }}"
imagePullPolicy: {{ $values.image.pullPolicy }}
{{- end -}}

{{/* Takes (list ours theirs): a map of both as YAML, in which theirs wins: a key twice would be refused by the API. */}}
{{- define "kiam.merged" -}}
{{- merge (deepCopy (default dict (index . 1))) (index . 0 | fromYaml) | toYaml -}}
{{- end -}}

{{- define "kiam.scrape" -}}
{{- $values := index .root.Values .part -}}
{{- if $values.prometheus.scrape -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ $values.prometheus.port | quote }}
{{- end -}}
{{- end -}}

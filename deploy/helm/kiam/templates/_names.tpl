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

{{/* Whether this chart makes the certificates itself: "yes" or nothing. */}}
{{- define "kiam.generates" -}}
{{- $values := .Values -}}
{{- $given := $values.certManager.enabled -}}
{{- range $part := list "agent" "server" -}}
{{- if or (index $values $part).tlsSecret (include "kiam.tlsGiven" (dict "root" $ "part" $part)) (not (index $values $part).enabled) -}}
{{- $given = true -}}
{{- end -}}
{{- end -}}
{{- if or $given (eq $values.generateCertificates "never") -}}
{{- else if eq $values.generateCertificates "always" -}}
yes
{{- else if not (lookup "v1" "Namespace" "" "kube-system") -}}
{{- fail "This chart makes the certificates itself and keeps those that are in the cluster, but no cluster can be seen here: it is only rendered (helm template, helm install --dry-run, Argo CD). Choose one of these: make the two Secrets with \"kiam pki\" and set generateCertificates=never; set certManager.enabled=true; give agent.tlsSecret and server.tlsSecret; or set generateCertificates=always, and a new CA is made at each rendering." -}}
{{- else if not (and (lookup "v1" "Secret" .Release.Namespace "kiam-agent-tls") (lookup "v1" "Secret" .Release.Namespace "kiam-server-tls")) -}}
yes
{{- end -}}
{{- end -}}

{{- define "kiam.secret" -}}
{{- $values := index .root.Values .part -}}
{{- if $values.tlsSecret -}}
{{- $values.tlsSecret -}}
{{- else if include "kiam.tlsGiven" . -}}
{{- printf "%s-%s" (include "kiam.fullname" .root) .part -}}
{{- else if include "kiam.generates" .root -}}
{{- printf "%s-generated-%s" (include "kiam.fullname" .root) .part -}}
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

{{/* A value as text. Helm reads every number as a float64, which would print 1000000 as 1e+06. */}}
{{- define "kiam.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ printf "%.0f" . }}{{- else -}}{{ toString . }}{{- end -}}
{{- end -}}

{{- define "kiam.extraArgs" -}}
{{- range $key, $value := . }}
{{- if or (kindIs "invalid" $value) (eq (toString $value) "") }}
- {{ printf "--%s" $key | quote }}
{{- else }}
- {{ printf "--%s=%s" $key (include "kiam.text" $value) | quote }}
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

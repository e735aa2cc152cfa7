import { at, isJsonObject, type JsonObject, listAt, objectAt, textAt, textsAt } from '../json.ts';
import { badRequest, invalid } from './api-error.ts';
import { readContent, readMetadata, type StoredObject } from './objects.ts';
import { apiVersionOf, DAEMON_SETS, EVENTS, PODS, type Resource, SECRETS } from './resources.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** `TotalAnnotationSizeLimitB` in Kubernetes' `apimachinery/pkg/api/validation/objectmeta.go`. */
const LARGEST_ANNOTATIONS_BYTES = 256 * 1024;

/** An object that a client sent, checked for what makes it this resource's; throws a 400 as the decoder does. */
export function decodeObject(resource: Resource, body: JsonObject): StoredObject {
  const apiVersion = textAt(body, 'apiVersion') || apiVersionOf(resource);
  const kind = textAt(body, 'kind') || resource.kind;
  if (kind !== resource.kind || apiVersion !== apiVersionOf(resource)) {
    throw badRequest(`no kind "${kind}" is registered for version "${apiVersion}" at ${resource.name}`);
  }
  for (const field of ['labels', 'annotations']) {
    const texts = at(body, 'metadata', field);
    const wrong = isJsonObject(texts)
      ? Object.values(texts).some((text) => typeof text !== 'string')
      : texts !== undefined && texts !== null;
    if (wrong)
      throw badRequest(
        `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: json: cannot unmarshal ${field} into Go struct field ObjectMeta.metadata.${field} of type string`,
      );
  }
  return { metadata: readMetadata(body), content: readContent(body) };
}

/** The rules that an object must keep to be stored; throws a 422. */
export function validate(resource: Resource, object: StoredObject): void {
  const { name, namespace, annotations = {} } = object.metadata;
  if (name === '') throw invalid(resource, name, 'metadata.name', 'Required value: name or generateName is required');
  const pattern = resource.name === 'namespaces' ? LABEL : SUBDOMAIN;
  if (name.length > 253 || !pattern.test(name)) {
    throw invalid(
      resource,
      name,
      'metadata.name',
      `Invalid value: "${name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`,
    );
  }
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  if (bytes > LARGEST_ANNOTATIONS_BYTES) {
    throw invalid(
      resource,
      name,
      'metadata.annotations',
      `Too long: may not be more than ${LARGEST_ANNOTATIONS_BYTES} bytes`,
    );
  }
  if (resource === PODS && listAt(object.content, 'spec', 'containers').length === 0) {
    throw invalid(resource, name, 'spec.containers', 'Required value');
  }
  const about = textAt(object.content, 'involvedObject', 'namespace');
  if (resource === EVENTS && about !== namespace && !(about === '' && namespace === 'default')) {
    throw invalid(
      resource,
      name,
      'involvedObject.namespace',
      `Invalid value: "${about}": does not match event.namespace`,
    );
  }
}

/** Fills in what the API server fills in at a creation (Kubernetes, `pkg/apis/core/v1/defaults.go`, `…/apps/v1/defaults.go`). */
export function withDefaults(resource: Resource, object: StoredObject): StoredObject {
  if (resource.name === 'namespaces') {
    const labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name };
    return {
      metadata: { ...object.metadata, labels },
      content: { spec: { finalizers: ['kubernetes'] }, ...object.content, status: { phase: 'Active' } },
    };
  }
  if (resource === DAEMON_SETS) return withDaemonSetDefaults(object);
  if (resource === SECRETS) return withEncodedData(object);
  if (resource !== PODS) return object;
  const given = at(object.content, 'spec');
  const spec = {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    serviceAccountName: 'default',
    schedulerName: 'default-scheduler',
    enableServiceLinks: true,
    ...(isJsonObject(given) ? given : {}),
  };
  return { ...object, content: { ...object.content, spec, status: { phase: 'Pending', qosClass: 'BestEffort' } } };
}

function withDaemonSetDefaults({ metadata, content }: StoredObject): StoredObject {
  const spec = objectAt(content, 'spec');
  const given = objectAt(spec, 'updateStrategy');
  const type = textAt(given, 'type') || 'RollingUpdate';
  const rollingUpdate = { maxUnavailable: 1, maxSurge: 0, ...objectAt(given, 'rollingUpdate') };
  const updateStrategy = type === 'RollingUpdate' ? { type, rollingUpdate } : { type };
  return {
    metadata: { ...metadata, others: { ...metadata.others, generation: 1 } },
    content: { ...content, spec: { revisionHistoryLimit: 10, ...spec, updateStrategy } },
  };
}

function withEncodedData({ metadata, content: { stringData, ...content } }: StoredObject): StoredObject {
  const encoded = Object.entries(textsAt(stringData)).map(([name, text]) => [
    name,
    Buffer.from(text).toString('base64'),
  ]);
  return {
    metadata,
    content: { type: 'Opaque', ...content, data: { ...textsAt(content, 'data'), ...Object.fromEntries(encoded) } },
  };
}

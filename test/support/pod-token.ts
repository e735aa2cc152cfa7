import type { World, WorldPod } from '#sandbox/world.ts';

/** What EKS names, as deploy/injection does. */
const AUDIENCE = 'pods.eks.amazonaws.com';

/** `system:service-account-issuer-discovery` of Kubernetes. */
export const DISCOVERY = { nonResourceURLs: ['/.well-known/openid-configuration', '/openid/v1/jwks'], verbs: ['get'] };

/** What a token may say otherwise than the pod's own. */
export interface TokenChanges {
  readonly audience?: string;
  /** From now on; negative for the past. Default an hour. */
  readonly livesSeconds?: number;
  /** Default a minute ago. */
  readonly startsInSeconds?: number;
  readonly uid?: string;
  readonly nodeName?: string;
  readonly serviceAccount?: string;
  readonly serviceAccountUid?: string;
}

/** A token as a kubelet projects it into a pod of `node-1` that runs as `default`. */
export function podToken(world: World, pod: WorldPod, changes: TokenChanges = {}): string {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const { audience = AUDIENCE, livesSeconds = 3600, startsInSeconds = -60, uid = pod.uid, ...claims } = changes;
  return world.api.tokens.sign({
    namespace: pod.namespace,
    serviceAccount: 'default',
    pod: { name: pod.name, uid },
    nodeName: 'node-1',
    audience,
    issuedAt: nowSeconds + startsInSeconds,
    expires: nowSeconds + livesSeconds,
    ...claims,
  });
}

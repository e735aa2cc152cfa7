import type { experimental } from '@grpc/grpc-js';

import type { CertificateSnapshot } from './certificates.ts';
import type { CertificateWatcher } from './certificate-watcher.ts';

/** Hands published certificates to grpc-js. It must not be called back while it subscribes: it stores its watcher after. */
export function certificateProvider(
  certificates: Pick<CertificateWatcher, 'subscribe'>,
): experimental.CertificateProvider {
  const ends = new Map<unknown, () => void>();
  const follow = (listener: unknown, deliver: (snapshot: CertificateSnapshot) => void): void => {
    let end = (): void => {};
    let ended = false;
    queueMicrotask(() => {
      if (!ended) end = certificates.subscribe(deliver);
    });
    ends.set(listener, () => {
      ended = true;
      end();
    });
  };
  const unfollow = (listener: unknown): void => {
    ends.get(listener)?.();
    ends.delete(listener);
  };
  return {
    addCaCertificateListener: (listener) => follow(listener, ({ caPem }) => listener({ caCertificate: caPem })),
    removeCaCertificateListener: unfollow,
    addIdentityCertificateListener: (listener) =>
      follow(listener, ({ certificatePem, privateKeyPem }) =>
        listener({ certificate: certificatePem, privateKey: privateKeyPem }),
      ),
    removeIdentityCertificateListener: unfollow,
  };
}

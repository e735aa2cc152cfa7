import type { PodContainer } from './container.ts';

const TLS = { name: 'tls', mountPath: '/etc/kiam/tls' };
const CERTIFICATES_OF_HOST = { name: 'ssl-certs', mountPath: '/etc/ssl/certs' };
const files = (part: string): string[] => [
  `--cert=/etc/kiam/tls/${part}.pem`,
  `--key=/etc/kiam/tls/${part}-key.pem`,
  '--ca=/etc/kiam/tls/ca.pem',
];

/**
 * The containers of Kiam's own manifests (https://github.com/uswitch/kiam/tree/master/deploy), whose users change the image
 * alone; the interface is the node's.
 */
export const KIAMS = {
  server: {
    command: ['/kiam'],
    args: [
      'server',
      '--json-log',
      '--level=warn',
      '--bind=0.0.0.0:443',
      ...files('server'),
      '--role-base-arn-autodetect',
      '--sync=1m',
      '--prometheus-listen-addr=0.0.0.0:9620',
      '--prometheus-sync-interval=5s',
    ],
    volumeMounts: [CERTIFICATES_OF_HOST, TLS],
  },
  serverProbe: [
    '/kiam',
    'health',
    ...files('server'),
    '--server-address=localhost:443',
    '--server-address-refresh=2s',
    '--timeout=5s',
    '--gateway-timeout-creation=1s',
  ],
  agent: (hostInterface: string): PodContainer => ({
    command: ['/kiam'],
    args: [
      'agent',
      '--iptables',
      `--host-interface=${hostInterface}`,
      '--json-log',
      '--port=8181',
      ...files('agent'),
      '--server-address=kiam-server:443',
      '--prometheus-listen-addr=0.0.0.0:9620',
      '--prometheus-sync-interval=5s',
      '--gateway-timeout-creation=1s',
    ],
    securityContext: { capabilities: { add: ['NET_ADMIN'] } },
    volumeMounts: [CERTIFICATES_OF_HOST, TLS, { name: 'xtables', mountPath: '/run/xtables.lock' }],
  }),
} as const;

import { isIPv6 } from 'node:net';

import { runCommand } from '#sandbox/network/commands.ts';

/** One request from inside a pod, without starting more than a shell: status and body; status 0 without an answer. */
export async function askFromPod(
  exec: readonly string[],
  path: string,
  address = '169.254.169.254',
): Promise<{ status: number; body: string }> {
  const host = isIPv6(address) ? `[${address}]` : address;
  const request = `GET ${path} HTTP/1.1\\r\\nHost: ${host}\\r\\nConnection: close\\r\\n\\r\\n`;
  const script = `exec 3<>/dev/tcp/${address}/80 && printf '${request}' >&3 && cat <&3`;
  const outcome = await runCommand([...exec, 'timeout', '5', 'bash', '-c', script]);
  const text = outcome.ok ? outcome.output : '';
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0),
    body: text.slice(text.indexOf('\r\n\r\n') + 4).trim(),
  };
}

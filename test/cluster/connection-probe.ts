// Runs in a pod, not in a test: asks the metadata service for the pod's role by a connection of its own, fifty times a second,
// and says once a second what has become of all of them so far. A connection that the kernel refuses or resets counts by its code.
import { request } from 'node:http';

const counts: Record<string, number> = {};
const count = (outcome: string): void => void (counts[outcome] = (counts[outcome] ?? 0) + 1);

setInterval(() => {
  const options = { agent: false, timeout: 10_000 };
  const asked = request('http://169.254.169.254/latest/meta-data/iam/security-credentials/', options, (response) => {
    response.resume();
    response.once('end', () => count(String(response.statusCode)));
  });
  asked.once('timeout', () => asked.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
  asked.once('error', (error) => count('code' in error ? String(error.code) : error.message));
  asked.end();
}, 20);
setInterval(() => console.log(JSON.stringify(counts)), 1000);

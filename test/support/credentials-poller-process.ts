// Runs in a pod: asks the metadata service for its role and then for that role's credentials, as SDKs do, as long as it lives.
import { get } from 'node:http';

import type { PollReport } from './credentials-poller.ts';

const LISTING = 'http://169.254.169.254/latest/meta-data/iam/security-credentials/';
const PAUSE_MS = 25;
/** An answer later than this is none. */
const LIMIT_MS = 5000;

const report: PollReport = { asked: 0, keys: {}, failures: [], longestGapMs: 0 };
let answeredAtMs = Date.now();

function fetchText(url: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, signal: AbortSignal.timeout(LIMIT_MS) }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}

function answered(key: string): void {
  report.keys[key] = (report.keys[key] ?? 0) + 1;
  report.longestGapMs = Math.max(report.longestGapMs, Date.now() - answeredAtMs);
  answeredAtMs = Date.now();
}

async function ask(): Promise<void> {
  const atMs = Date.now();
  report.asked += 1;
  try {
    const role = await fetchText(LISTING);
    const answer = role.status === 200 ? await fetchText(LISTING + role.body) : role;
    const key = /"AccessKeyId"\s*:\s*"(\w+)"/.exec(answer.body)?.[1];
    if (key === undefined) report.failures.push({ atMs, how: `${answer.status} ${answer.body.trim().slice(0, 100)}` });
    else answered(key);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    report.failures.push({ atMs, how: code });
  }
}

process.on('message', () => process.send?.(report));
process.on('disconnect', () => process.exit(0));
for (;;) {
  await ask();
  await new Promise((resolve) => {
    setTimeout(resolve, PAUSE_MS);
  });
}

import { readFileSync } from 'node:fs';

/** Replaced by the bundler; when run from sources, package.json is read. */
declare const KIAM_VERSION: string | undefined;

export function kiamVersion(): string {
  if (typeof KIAM_VERSION === 'string') return KIAM_VERSION;
  const description: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const hasVersion = typeof description === 'object' && description !== null && 'version' in description;
  return hasVersion ? String(description.version) : 'unknown';
}

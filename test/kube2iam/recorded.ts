import { readFileSync } from 'node:fs';

import type { RecordedCase as RecordedAnswer } from '../conformance/recorded.ts';

/** What kube2iam answered: jtblin/kube2iam 4c4a2b4, recorded on 2026-11-28 under eleven settings. */
export type Kube2iamCase = RecordedAnswer & { readonly setting: string };

interface Kube2iamPod {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  readonly nodeName?: string;
}

interface Kube2iamFixtures {
  /** The flags of each setting, beside those of all. */
  readonly settings: Readonly<Record<string, readonly string[]>>;
  readonly namespaces: readonly { readonly name: string; readonly annotations: Readonly<Record<string, string>> }[];
  readonly pods: readonly Kube2iamPod[];
  readonly sts: { readonly perRole: Readonly<Record<string, 'deny' | 'throttle' | '500'>> };
}

const read = (name: string): string => readFileSync(new URL(`recorded/${name}`, import.meta.url), 'utf8');

export const KUBE2IAM_FIXTURES = JSON.parse(read('fixtures.json')) as Kube2iamFixtures;

export const KUBE2IAM_TRANSCRIPT = read('transcript.jsonl')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Kube2iamCase);

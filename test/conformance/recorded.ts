import { readFileSync } from 'node:fs';

/** What the real Kiam answered: agent and server of uswitch/kiam, master 2950404, recorded on 2026-11-24. */
export interface RecordedCase {
  readonly name: string;
  /** A flag other than the default, without its dashes. */
  readonly setting?: string;
  readonly request: {
    readonly from: string;
    readonly method: string;
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
  };
  readonly response: {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
    readonly slow: boolean;
  };
}

export interface RecordedNamespace {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RecordedPod {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  readonly deletionTimestamp?: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Fixtures {
  readonly namespaces: readonly RecordedNamespace[];
  readonly pods: readonly RecordedPod[];
  readonly sts: { readonly perRole: Readonly<Record<string, 'deny' | 'throttle' | '500'>> };
}

const read = (name: string): string => readFileSync(new URL(`recorded/${name}`, import.meta.url), 'utf8');

export const FIXTURES = JSON.parse(read('fixtures.json')) as Fixtures;

export const TRANSCRIPT = read('transcript.jsonl')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as RecordedCase);

export interface RecordedMetric {
  readonly daemon: 'agent' | 'server';
  readonly name: string;
  readonly type: string;
  /** Label names with the values that were seen. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  readonly buckets?: readonly string[];
}

export const METRICS = JSON.parse(read('metrics.json')) as readonly RecordedMetric[];

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { KubernetesConnection } from '#kubernetes/connection.ts';
import { listAll } from '#kubernetes/list.ts';

interface Page {
  readonly version: string;
  readonly names: readonly string[];
  readonly next?: string;
}

/** An API server that answers with these pages, one after the other. */
function connectionWith(pages: readonly Page[]): Pick<KubernetesConnection, 'request'> & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    request: ({ query }) => {
      const page = pages[asked.length] ?? assert.fail('more pages are asked for than there are');
      asked.push(query?.['continue'] ?? '');
      const metadata = { resourceVersion: page.version, ...(page.next === undefined ? {} : { continue: page.next }) };
      const text = JSON.stringify({ metadata, items: page.names.map((name) => ({ metadata: { name } })) });
      return Promise.resolve({
        status: 200,
        retryAfterMs: undefined,
        date: undefined,
        chunks: () => assert.fail('the body is read as a whole'),
        text: () => Promise.resolve(text),
      });
    },
  };
}

function list(pages: readonly Page[]) {
  const connection: KubernetesConnection = {
    server: 'https://192.0.2.1',
    renewCredentials: () => {},
    dropIdleConnections: () => {},
    close: () => {},
    ...connectionWith(pages),
  };
  const parse = (value: unknown): string => JSON.stringify(value);
  return listAll({ connection, path: '/api/v1/pods', parse, signal: new AbortController().signal });
}

test('a list is all of its pages where they show one version', async () => {
  const outcome = await list([
    { version: '5', names: ['a', 'b'], next: 'x' },
    { version: '5', names: ['c'] },
  ]);
  assert.equal(outcome.kind, 'listed');
  assert.equal(outcome.kind === 'listed' ? outcome.records.length : 0, 3);
});

test('a list whose pages show two versions is begun again, and no mixture of both', async () => {
  const pages = [
    { version: '5', names: ['a'], next: 'x' },
    { version: '6', names: ['b'] },
  ];
  assert.equal((await list(pages)).kind, 'expired');
});

test('a list that goes in circles has failed', async () => {
  const page = { version: '5', names: ['a'], next: 'x' };
  assert.equal((await list([page, page])).kind, 'failed');
});

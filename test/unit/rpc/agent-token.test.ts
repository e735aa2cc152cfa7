import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';

import { AgentToken } from '#rpc/agent-token.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

async function tokenIn(context: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-token-'));
  context.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'token');
  const { logger, lines } = recordingLogger();
  const token = new AgentToken({ path, clock: new ManualClock(), logger });
  return {
    token,
    lines,
    write: async (text: string): Promise<string> => {
      await writeFile(path, text);
      await token.refresh();
      return token.current;
    },
  };
}

describe('the token of an agent', () => {
  it('the token of an agent is the text of its file, without the line end, as it is now', async (context) => {
    const { token, write } = await tokenIn(context);
    assert.equal(token.current, '');
    assert.equal(await write('eyJh.eyJi-_.c2ln\n'), 'eyJh.eyJi-_.c2ln');
    assert.equal(await write('second=='), 'second==');
  });

  it('the token of an agent stays what it was when the file holds nothing that could be sent, which is said once and without the text', async (context) => {
    const { lines, write } = await tokenIn(context);
    await write('good');
    for (const text of ['', '\n', 'two words', 'two\nlines', 'nul\0', 'schlüssel', 'a,b']) {
      assert.equal(await write(text), 'good', JSON.stringify(text));
    }
    assert.deepEqual(
      lines.map(({ level, message }) => `${level} ${message}`),
      ['error the agent token cannot be read'],
    );
    assert.doesNotMatch(JSON.stringify(lines), /words|schl/);
  });

  it('the token of an agent is waited for when there is no file yet', async (context) => {
    const { token, lines, write } = await tokenIn(context);
    await token.refresh();
    assert.equal(token.current, '');
    assert.equal(await write('here'), 'here');
    assert.equal(lines.length, 1);
  });
});

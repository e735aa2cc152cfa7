import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import {
  createCommandFollower,
  createCommandRunner,
  explainOutcome,
  type CommandOutcome,
} from '#agent/interception/command.ts';

import { eventually } from '../../../support/eventually.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const never = new AbortController().signal;

function runner(prefix: readonly string[] = []): { clock: ManualClock; run: ReturnType<typeof createCommandRunner> } {
  const clock = new ManualClock();
  return { clock, run: createCommandRunner({ clock, prefix }) };
}

test('a command gets its arguments as they are, its input, and an environment without secrets', async () => {
  const { run } = runner(['env']);
  const options = { timeoutMs: 1000, signal: never, input: 'one\ntwo\n' };
  const outcome = await run('sh', ['-c', 'cat; echo "$1"; env', 'sh', '$(id) "; echo'], options);
  assert.ok(outcome.kind === 'exited');
  const lines = outcome.stdout.split('\n');
  assert.deepEqual(lines.slice(0, 3), ['one', 'two', '$(id) "; echo']);
  const names = lines.slice(3).map((line) => line.split('=')[0] ?? '');
  assert.deepEqual(names.filter((name) => !['', '_', 'PWD', 'SHLVL', 'OLDPWD'].includes(name)).sort(), [
    'LC_ALL',
    'PATH',
  ]);
});

test('a command that fails tells how', async () => {
  const { run } = runner();
  const outcome = await run('sh', ['-c', 'echo "# a remark" >&2; echo bad luck >&2; exit 3'], {
    timeoutMs: 1000,
    signal: never,
  });
  assert.equal(explainOutcome('sh', outcome), 'sh failed with exit code 3: bad luck');
});

test('a command that is not there, takes too long or is given up is told apart', async () => {
  const { run, clock } = runner();
  assert.deepEqual(await run('no-such-command', [], { timeoutMs: 1000, signal: never }), { kind: 'not found' });

  const slow = run('sleep', ['1000'], { timeoutMs: 1000, signal: never });
  await clock.advance(1000);
  assert.deepEqual(await slow, { kind: 'timed out' });

  const giveUp = new AbortController();
  const abandoned = run('sleep', ['1000'], { timeoutMs: 1000, signal: giveUp.signal });
  giveUp.abort();
  assert.deepEqual(await abandoned, { kind: 'aborted' });
  assert.deepEqual(await run('true', [], { timeoutMs: 1000, signal: giveUp.signal }), { kind: 'aborted' });

  const killed = await run('sh', ['-c', 'kill -9 $$'], { timeoutMs: 1000, signal: never });
  assert.deepEqual(killed, { kind: 'failed', reason: 'it was ended by SIGKILL' });
});

test('what was given up has ended before that is told', async () => {
  const { run } = runner();
  const folder = await mkdtemp(join(tmpdir(), 'kiam-command-'));
  const file = join(folder, 'pid');
  const giveUp = new AbortController();
  const options = { timeoutMs: 10_000, signal: giveUp.signal };
  const abandoned = run('sh', ['-c', `echo $$ > ${file}.new && mv ${file}.new ${file} && exec sleep 1000`], options);
  await eventually('it runs', 5000, () => existsSync(file));
  giveUp.abort();
  assert.deepEqual(await abandoned, { kind: 'aborted' });
  const pid = (await readFile(file, 'utf8')).trim();
  assert.equal(existsSync(`/proc/${pid}`), false);
  await rm(folder, { recursive: true });
});

test('endless output is cut and does not hold the command up', async () => {
  const { run } = runner();
  const outcome = await run('head', ['-c', '9000000', '/dev/zero'], { timeoutMs: 1000, signal: never });
  assert.ok(outcome.kind === 'exited' && outcome.exitCode === 0);
  assert.equal(outcome.stdout.length, 4 * 1024 * 1024);
  assert.equal(outcome.truncated, true);
});

test('a command that reads none of its input is no error', async () => {
  const { run } = runner();
  const options = { timeoutMs: 1000, signal: never, input: 'x'.repeat(1_000_000) };
  const outcome = await run('true', [], options);
  assert.ok(outcome.kind === 'exited' && outcome.exitCode === 0);
});

test('what a command says reaches the log in one line of bounded length', () => {
  const outcome: CommandOutcome = {
    kind: 'exited',
    exitCode: 1,
    stdout: '',
    stderr: `first\n\u001b[31m\tsecond ${'x'.repeat(1000)}`,
    truncated: false,
  };
  const text = explainOutcome('iptables', outcome);
  assert.match(text, /^iptables failed with exit code 1: first;  \[31m second x+\.\.\.$/);
  assert.ok(text.length < 400);
});

test('a follower hands over whole lines, cuts long ones, and ends its command with the signal', async () => {
  const follow = createCommandFollower({});
  const lines: string[] = [];
  const stop = new AbortController();
  const script =
    'printf "one\\ntw"; printf "o\\n"; head -c 5000 /dev/zero | tr "\\0" x; echo; echo end; exec sleep 1000';
  const following = follow('sh', ['-c', script], {
    signal: stop.signal,
    onLine: (line) => {
      lines.push(line);
      if (line === 'end') stop.abort();
    },
  });
  assert.equal(await following, true);
  assert.deepEqual(
    lines.map((line) => line.slice(0, 3)),
    ['one', 'two', 'xxx', 'end'],
  );
  assert.equal(lines[2]?.length, 1024);
  assert.equal(await follow('no-such-command', [], { signal: never, onLine: () => {} }), false);
});

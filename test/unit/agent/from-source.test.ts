import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import test from 'node:test';

import { fromSource } from '#agent/from-source.ts';
import { succeeded } from '#domain/failure.ts';

import { ManualClock } from '../../support/manual-clock.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { testAgent } from './fixture.ts';

const never = new Promise<never>(() => {});

test('a source that waits is told when the time is up, and its word is taken', async () => {
  const clock = new ManualClock();
  const { logger } = recordingLogger();
  const asked = fromSource<string>(
    { clock, logger, waitMs: 900 },
    (signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve(succeeded(String(clock.monotonic()))));
      }),
  );
  await clock.advance(2000);
  assert.deepEqual(await asked, succeeded('900'));
});

test('a source that ignores its signal does not keep the client past the second that SDKs wait', async () => {
  const clock = new ManualClock();
  const { app } = testAgent({ clock, waitMs: 900, source: { podRole: () => never } });
  const asked = app.inject({ url: '/latest/meta-data/iam/security-credentials/' });
  let answered = false;
  void asked.then(() => {
    answered = true;
  });
  await clock.advance(899);
  assert.equal(answered, false);
  await clock.advance(100);
  const answer = await asked;
  assert.equal(answer.statusCode, 503);
  assert.equal(answer.headers['retry-after'], '1');
});

test('a source is told when the client has gone', async () => {
  const clock = new ManualClock();
  const { logger } = recordingLogger();
  const response = new EventEmitter();
  let aborted = false;
  const asked = fromSource<string>({ clock, logger, waitMs: 900, response }, (signal) => {
    signal.addEventListener('abort', () => {
      aborted = true;
    });
    return never;
  });
  response.emit('close');
  assert.equal(aborted, true);
  await clock.advance(100);
  assert.equal((await asked).ok, false);
});

test('after an answer no timer and no listener is left', async () => {
  const clock = new ManualClock();
  let timers = 0;
  const counting = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (delayMs: number, task: () => void) => {
      timers += 1;
      const cancel = clock.after(delayMs, task);
      return () => {
        timers -= 1;
        cancel();
      };
    },
  };
  const { logger } = recordingLogger();
  const response = new EventEmitter();
  await fromSource({ clock: counting, logger, waitMs: 900, response }, () => Promise.resolve(succeeded('x')));
  assert.equal(timers, 0);
  assert.equal(response.listenerCount('close'), 0);
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { createBackoff } from '#runtime/backoff.ts';
import { sleep } from '#runtime/clock.ts';
import { startDeadline, unlessAborted, within } from '#runtime/within.ts';
import { Shutdown } from '#runtime/shutdown.ts';

import { ManualClock } from '../../support/manual-clock.ts';

describe('sleep', () => {
  it('sleep ends after its time, not before', async () => {
    const clock = new ManualClock();
    let ended = false;
    void sleep(clock, 1000, new AbortController().signal).then(() => {
      ended = true;
    });
    await clock.advance(999);
    assert.equal(ended, false);
    await clock.advance(1);
    assert.equal(ended, true);
  });

  it('sleep ends at once when its signal aborts, before or during', async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const sleeping = sleep(clock, 1000, controller.signal);
    controller.abort();
    await sleeping;
    await sleep(clock, 1000, controller.signal);
    assert.equal(clock.monotonic(), 0);
  });
});

describe('startDeadline', () => {
  it('startDeadline aborts after its time, with its parent, or never once cleared', async () => {
    const clock = new ManualClock();
    const parent = new AbortController();
    const timed = startDeadline(clock, 100, parent.signal);
    const cleared = startDeadline(clock, 100, parent.signal);
    const longer = startDeadline(clock, 10_000, parent.signal);
    cleared.clear();
    await clock.advance(100);
    assert.deepEqual(
      [timed, cleared, longer].map((deadline) => deadline.signal.aborted),
      [true, false, false],
    );
    parent.abort();
    assert.deepEqual(
      [cleared, longer].map((deadline) => deadline.signal.aborted),
      [false, true],
    );
    assert.equal(startDeadline(clock, 100, parent.signal).signal.aborted, true);
  });
});

describe('createBackoff', () => {
  it('createBackoff doubles its bound up to the cap and draws from its upper half', () => {
    const lowest = createBackoff({ firstMs: 100, capMs: 1000, random: () => 0 });
    const highest = createBackoff({ firstMs: 100, capMs: 1000, random: () => 1 });
    assert.deepEqual(
      Array.from({ length: 6 }, () => lowest.nextMs()),
      [50, 100, 200, 400, 500, 500],
    );
    assert.deepEqual(
      Array.from({ length: 6 }, () => highest.nextMs()),
      [100, 200, 400, 800, 1000, 1000],
    );
    highest.reset();
    assert.equal(highest.nextMs(), 100);
  });
});

describe('Shutdown', () => {
  it('Shutdown closes in reverse order, once, and continues past a part that fails or hangs', async () => {
    const clock = new ManualClock();
    const shutdown = new Shutdown(clock);
    const closed: string[] = [];
    shutdown.add({ name: 'first', limitMs: 1000, close: () => void closed.push('first') });
    shutdown.add({
      name: 'hangs',
      limitMs: 1000,
      close: () => {
        closed.push('hangs');
        return new Promise(() => {});
      },
    });
    shutdown.add({
      name: 'fails',
      limitMs: 1000,
      close: () => {
        closed.push(`fails, signal ${shutdown.signal.aborted ? 'aborted' : 'live'}`);
        throw new Error('broken');
      },
    });
    const lines: string[] = [];
    const report = ({ name, outcome }: { name: string; outcome: string }): void =>
      void lines.push(`${name} ${outcome}`);
    const running = shutdown.run(report);
    const again = shutdown.run(report);
    await clock.advance(1000);
    await Promise.all([running, again]);
    assert.deepEqual(closed, ['fails, signal aborted', 'hangs', 'first']);
    assert.deepEqual(lines, ['fails failed', 'hangs timed out', 'first closed']);
  });
});

describe('within', () => {
  const never = (): Promise<string> => new Promise(() => {});

  it('within is what its task comes to, and leaves no timer and no listener', async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const bounds = { clock, limitMs: 100, signal: controller.signal };
    const cut = (): string => 'cut';
    assert.equal(await within(bounds, () => 'at once', cut), 'at once');
    const later = async (signal: AbortSignal): Promise<string> => {
      await sleep(clock, 50, signal);
      return 'later';
    };
    const waiting = within(bounds, later, cut);
    await clock.advance(50);
    assert.equal(await waiting, 'later');
    const broken = (): never => {
      throw new Error('broken');
    };
    await assert.rejects(within(bounds, broken, cut), /broken/);
    await clock.advance(1000);
    controller.abort();
  });

  it('within is cut when the time is up or the signal aborts, whatever the task does', async () => {
    for (const end of ['time', 'signal'] as const) {
      const clock = new ManualClock();
      const controller = new AbortController();
      let heard: AbortSignal | undefined;
      const task = (signal: AbortSignal): Promise<string> => {
        heard = signal;
        return never();
      };
      const waiting = within({ clock, limitMs: 100, signal: controller.signal }, task, () => 'cut');
      if (end === 'time') await clock.advance(100);
      else controller.abort();
      assert.equal(await waiting, 'cut', end);
      assert.equal(heard?.aborted, true);
    }
  });

  it('within does not start its task with a signal that has aborted', async () => {
    const task = (): never => assert.fail('it is started');
    assert.equal(
      await within({ clock: new ManualClock(), limitMs: 100, signal: AbortSignal.abort() }, task, () => 'cut'),
      'cut',
    );
  });

  it('within gives a task that hears its signal the grace to say what it found', async () => {
    const clock = new ManualClock();
    const bounds = { clock, limitMs: 100, graceMs: 30 };
    const heeds = async (signal: AbortSignal): Promise<string> => {
      await sleep(clock, 1000, signal);
      return signal.aborted ? 'what it found' : 'all';
    };
    const [heeding, deaf] = [within(bounds, heeds, () => 'cut'), within(bounds, never, () => 'cut')];
    await clock.advance(100);
    assert.equal(await heeding, 'what it found');
    await clock.advance(29);
    assert.equal(await Promise.race([deaf, Promise.resolve('it waits')]), 'it waits');
    await clock.advance(1);
    assert.equal(await deaf, 'cut');
  });
});

describe('unlessAborted', () => {
  it('unlessAborted is what the work comes to, or what is said for a signal that aborts first, and keeps no listener', async () => {
    const controller = new AbortController();
    assert.equal(await unlessAborted(Promise.resolve('done'), controller.signal, () => 'left'), 'done');
    const waiting = unlessAborted(new Promise<string>(() => {}), controller.signal, () => 'left');
    controller.abort();
    assert.equal(await waiting, 'left');
    const refuse = (): never => {
      throw new Error('aborted');
    };
    await assert.rejects(unlessAborted(new Promise(() => {}), controller.signal, refuse), /aborted/);
  });
});

import { Session } from 'node:inspector/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { sleep } from '#runtime/clock.ts';
import type { Clock } from '#runtime/clock.ts';
import { sendText, startHttpListener } from './http-listener.ts';
import type { HttpListener } from './http-listener.ts';
import type { ListenAddress } from './listen-address.ts';
import type { Logger } from './logger.ts';

export interface ProfileListenerOptions {
  readonly address: ListenAddress;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Go's own interval between samples of the heap: one for each half MiB allocated (https://pkg.go.dev/runtime#MemProfileRate). */
const HEAP_SAMPLE_BYTES = 512 * 1024;

const DEFAULT_SECONDS = 30;
const MOST_SECONDS = 60;

/**
 * Serves what Go's `net/http/pprof` serves for Kiam, in the forms that Chrome's developer tools read:
 * `/debug/pprof/profile?seconds=N` is a `.cpuprofile` of the next N seconds (1 to 60, 30 unless said), `/debug/pprof/heap` a
 * `.heapprofile` of what was allocated since this listener began and is still alive. Both hold names and places of functions
 * and sizes, never a value: heap snapshots, which hold the credentials, are not offered. One profile at a time, else 429.
 */
export function startProfileListener(options: ProfileListenerOptions): HttpListener {
  const heap = startHeapSampling();
  const closing = new AbortController();
  let busy = false;
  const alone =
    (route: (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void>) =>
    async (request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> => {
      if (busy) return sendText(response, 429, 'a profile is being taken already\n', { 'Retry-After': '5' });
      busy = true;
      try {
        await route(request, response, url);
      } finally {
        busy = false;
      }
    };
  const listener = startHttpListener({
    ...options,
    name: 'pprof',
    routes: {
      '/debug/pprof/': (_request, response) => sendText(response, 200, 'profile?seconds=1..60\nheap\n'),
      '/debug/pprof/profile': alone((_request, response, url) =>
        answerProfile(options.clock, response, url, closing.signal),
      ),
      '/debug/pprof/heap': alone(async (_request, response) =>
        sendProfile(response, 'kiam.heapprofile', await heap.profile()),
      ),
    },
  });
  return {
    listening: listener.listening,
    close: async () => {
      closing.abort();
      await listener.close();
      await heap.stop();
    },
  };
}

async function answerProfile(clock: Clock, response: ServerResponse, url: URL, closing: AbortSignal): Promise<void> {
  const seconds = parseSeconds(url.searchParams.get('seconds'));
  if (seconds === undefined) {
    return sendText(response, 400, `seconds must be a whole number from 1 to ${MOST_SECONDS}\n`);
  }
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const profile = await profileCpu(clock, seconds * 1000, AbortSignal.any([gone.signal, closing]));
  if (!response.destroyed) sendProfile(response, 'kiam.cpuprofile', profile);
}

function parseSeconds(text: string | null): number | undefined {
  if (text === null) return DEFAULT_SECONDS;
  const seconds = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  return seconds >= 1 && seconds <= MOST_SECONDS ? seconds : undefined;
}

/** A session of its own for each profile: while none is connected, the profiler costs nothing. */
async function profileCpu(clock: Clock, durationMs: number, signal: AbortSignal): Promise<unknown> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    await sleep(clock, durationMs, signal);
    const { profile } = await session.post('Profiler.stop');
    return profile;
  } finally {
    session.disconnect();
  }
}

interface HeapSampling {
  profile(): Promise<unknown>;
  stop(): Promise<void>;
}

function startHeapSampling(): HeapSampling {
  const session = new Session();
  session.connect();
  const started = session.post('HeapProfiler.startSampling', { samplingInterval: HEAP_SAMPLE_BYTES });
  // Whoever asks for a profile gets the error; until then it must not count as unhandled.
  started.catch(() => {});
  return {
    profile: async () => {
      await started;
      const { profile } = await session.post('HeapProfiler.getSamplingProfile');
      return profile;
    },
    stop: async () => {
      await started;
      session.disconnect();
    },
  };
}

function sendProfile(response: ServerResponse, fileName: string, profile: unknown): void {
  sendText(response, 200, JSON.stringify(profile), {
    'Content-Type': 'application/json',
    'Content-Disposition': `attachment; filename="${fileName}"`,
  });
}

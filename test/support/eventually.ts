/** Asks again and again until the answer is yes; fails after `limitMs` with what was awaited. Returns how long it took. */
export async function eventually(
  awaited: string,
  limitMs: number,
  ask: () => boolean | Promise<boolean>,
): Promise<number> {
  const startedMs = performance.now();
  while (!(await ask())) {
    if (performance.now() - startedMs > limitMs) throw new Error(`after ${limitMs} ms still not: ${awaited}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
  return performance.now() - startedMs;
}

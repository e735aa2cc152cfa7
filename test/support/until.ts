/** Lets the event loop turn until `condition` holds; fails when it does not get there by itself. No time is involved. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 2000; turn += 1) {
    if (condition()) return;
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
  throw new Error(`never happened: ${what}`);
}

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { HandshakeTurns } from '#rpc/handshake-turns.ts';

import { ManualClock } from '../../support/manual-clock.ts';

interface Connection {
  readonly from: string;
  /** How long its handshake takes; Infinity for a client that never finishes. */
  readonly takesMs: number;
}

const AGENT_MS = 10;

/** A server whose clients take so long for their handshakes. */
class Door {
  readonly clock = new ManualClock();
  readonly begun: Connection[] = [];
  readonly refused: Connection[] = [];
  /** When the handshake of each connection ended. */
  readonly doneMs = new Map<Connection, number>();
  #underWay = 0;
  mostWithTurn = 0;
  readonly turns: HandshakeTurns<Connection>;

  constructor() {
    this.turns = new HandshakeTurns({
      clock: this.clock,
      begin: (connection) => this.#begin(connection),
      refuse: (connection) => this.refused.push(connection),
    });
  }

  arrive(from: string, takesMs = AGENT_MS): Connection {
    const connection = { from, takesMs };
    this.turns.arrive(from, connection);
    return connection;
  }

  agents(count: number): Connection[] {
    return Array.from({ length: count }, (_, index) => this.arrive(`10.0.${index >> 8}.${index & 255}`));
  }

  #begin(connection: Connection): void {
    this.begun.push(connection);
    this.#underWay += 1;
    this.mostWithTurn = Math.max(this.mostWithTurn, this.#underWay);
    if (connection.takesMs === Infinity) return;
    this.clock.after(connection.takesMs, () => {
      this.#underWay -= 1;
      this.doneMs.set(connection, this.clock.monotonic());
      this.turns.ended(connection);
    });
  }
}

describe('taking turns in handshakes', () => {
  it('taking turns in handshakes lets two handshakes run at a time, and all in the end', async () => {
    const door = new Door();
    const agents = door.agents(500);
    assert.equal(door.begun.length, 2);
    assert.equal(door.turns.waiting, 498);
    await door.clock.advance((500 / 2) * AGENT_MS);
    assert.equal(door.doneMs.size, agents.length);
    assert.equal(door.mostWithTurn, 2);
    assert.equal(door.turns.waiting, 0);
  });

  it('taking turns in handshakes begins the next handshake when one takes its time, which continues', async () => {
    const door = new Door();
    const slow = [1, 2].map((index) => door.arrive(`198.51.100.${index}`, 150));
    const agent = door.arrive('10.0.0.1');
    await door.clock.advance(99);
    assert.equal(door.begun.length, 2);
    await door.clock.advance(1);
    assert.equal(door.begun.at(-1), agent);
    await door.clock.advance(50);
    assert.ok(slow.every((connection) => door.doneMs.has(connection)));
  });

  it('taking turns in handshakes lets addresses take turns: who opens many connections waits for itself', async () => {
    const door = new Door();
    for (let count = 0; count < 900; count += 1) door.arrive('192.0.2.66');
    const agents = door.agents(20);
    await door.clock.advance(12 * AGENT_MS);
    assert.ok(agents.every((agent) => door.doneMs.has(agent)));
    assert.ok(door.doneMs.size > 20, 'the other address has a turn here and there');
  });

  it('taking turns in handshakes lets addresses whose handshakes end go before hundreds whose do not', async () => {
    const door = new Door();
    const stalled = Array.from({ length: 200 }, (_, index) => `192.0.2.${index}`);
    for (const address of stalled) for (let count = 0; count < 3; count += 1) door.arrive(address, Infinity);
    // Each has its first turn, of a tenth of a second, two at a time.
    await door.clock.advance(15_000);
    const agents = door.agents(10);
    await door.clock.advance(1000);
    assert.ok(agents.every((agent) => door.doneMs.has(agent)));
  });

  it('taking turns in handshakes lets agents in at once while other addresses finish none of their handshakes', async () => {
    const door = new Door();
    for (let count = 0; count < 2000; count += 1) door.arrive('192.0.2.66', Infinity);
    for (let count = 0; count < 50; count += 1) door.arrive('192.0.2.67', Infinity);
    await door.clock.advance(1000);
    const agents = door.agents(100);
    for (let step = 0; step < 70; step += 1) {
      door.arrive('192.0.2.66', Infinity);
      await door.clock.advance(10);
    }
    assert.ok(agents.every((agent) => door.doneMs.has(agent)));
    assert.ok(door.refused.every(({ from }) => from === '192.0.2.66'));
  });

  it('taking turns in handshakes holds a thousand connections, and takes one from the address with the most for each that is too many', async () => {
    const door = new Door();
    for (let count = 0; count < 1024; count += 1) door.arrive('192.0.2.66', Infinity);
    assert.equal(door.refused.length, 0);
    door.arrive('192.0.2.66', Infinity);
    assert.deepEqual([door.refused.length, door.refused[0]?.from], [1, '192.0.2.66']);
    const agents = door.agents(1000);
    assert.equal(door.refused.length, 1001);
    assert.ok(!door.refused.some((connection) => agents.includes(connection)));
    const another = door.agents(1024).filter((agent) => door.refused.includes(agent));
    assert.ok(another.length >= 1000, 'where nobody has more than the others, the last to come goes');
    await door.clock.advance(20_000);
    assert.ok(agents.every((agent) => door.doneMs.has(agent)));
  });

  it('taking turns in handshakes takes the oldest handshake that does not end where none of the address waits', async () => {
    const door = new Door();
    for (let count = 0; count < 1024; count += 1) door.arrive('192.0.2.66', Infinity);
    await door.clock.advance(60_000);
    assert.equal(door.turns.waiting, 0);
    const agent = door.arrive('10.0.0.1');
    assert.deepEqual(door.refused, [door.begun[0]]);
    await door.clock.advance(AGENT_MS);
    assert.ok(door.doneMs.has(agent));
  });

  it('taking turns in handshakes forgets a connection that was closed while it waited', async () => {
    const door = new Door();
    for (let count = 0; count < 2; count += 1) door.arrive('198.51.100.1', 50);
    const gone = door.arrive('10.0.0.1');
    door.turns.ended(gone);
    await door.clock.advance(1000);
    assert.ok(!door.begun.includes(gone));
    assert.equal(door.turns.waiting, 0);
  });

  it('taking turns in handshakes refuses all that has not finished when it closes, and whatever comes', async () => {
    const door = new Door();
    door.agents(10);
    door.turns.close();
    assert.equal(door.refused.length, 10);
    door.arrive('10.0.0.99');
    assert.equal(door.refused.length, 11);
    await door.clock.advance(1000);
    assert.equal(door.begun.length, 2);
  });
});

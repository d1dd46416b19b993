import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { parseIpv4 } from "../wire/index.ts";
import { type AddressBook, type AddressBookOptions, type Client, createAddressBook } from "./addresses.ts";
import { createMemoryLeases, type LeaseStore } from "./leases.ts";
import { counted, usedBytes } from "./work.fixture.ts";

const OWN = at("10.64.0.1");

describe("who gets which address", () => {
  test("never two at once, whatever they ask for and in which order", () => {
    const step = fc.record({
      act: fc.constantFrom("choose", "bind", "bind", "release", "decline", "wait"),
      client: fc.nat(7),
      address: fc.nat(9),
      seconds: fc.nat(200),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const world = createWorld({ pools: [{ from: OWN, to: OWN + 6 }], fixed: [OWN + 2, OWN + 9] });
        const { book, store } = world;
        for (const { act, client: number, address: offset, seconds } of steps) {
          const client = clientOf(number);
          const wanted = OWN + offset;
          if (act === "wait") world.advance(seconds);
          if (act === "release") book.release(client, wanted);
          if (act === "decline") book.decline(client, wanted);
          if (act === "choose") {
            const chosen = book.choose(client, wanted);
            if (chosen === undefined) continue;
            expect(chosen).not.toBe(OWN);
            expect([OWN + 2, OWN + 9].includes(chosen)).toBe(client.fixed === chosen);
            expect(book.isFree(chosen, client)).toBe(true);
            expect(book.held(client)).toBe(chosen);
            // nobody else may have it as long as the offer stands
            for (let other = 0; other < 8; other++) if (other !== number) expect(book.isFree(chosen, clientOf(other))).toBe(false);
          }
          if (act === "bind") {
            const held = book.held(client);
            if (held === undefined || !book.isFree(held, client)) continue;
            const before = store.leases.get(held);
            expect(before === undefined || before.client === client.key || before.expires <= world.now()).toBe(true);
            book.bind(client, held, seconds);
            expect(book.held(client)).toBe(held);
          }
          const holders = [...store.leases.values()].filter((one) => one.client !== "declined").map((one) => one.client);
          expect(new Set(holders).size).toBe(holders.length);
          expect(book.size.leases).toBe(store.leases.size);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("a reservation is for its client alone, also when somebody else asks for the address by name", () => {
    const { book } = createWorld({ pools: [{ from: OWN + 10, to: OWN + 20 }], fixed: [OWN + 15, OWN + 200] });
    expect(book.choose(stranger(1), OWN + 15)).not.toBe(OWN + 15);
    expect(book.choose({ ...stranger(2), fixed: OWN + 15 }, OWN + 12)).toBe(OWN + 15);
    expect(book.choose({ ...stranger(3), fixed: OWN + 200 }, undefined)).toBe(OWN + 200);
    expect(book.size.free).toBe(9);
  });

  test("a client whose reservation came later moves to it when it next asks", () => {
    const store = createMemoryLeases();
    const before = createWorld({ pools: [{ from: OWN + 10, to: OWN + 20 }], store });
    before.book.bind(stranger(1), before.book.choose(stranger(1), undefined) ?? 0, 3600);
    const { book } = createWorld({ pools: [{ from: OWN + 10, to: OWN + 20 }], fixed: [OWN + 99], store });
    const client = { ...stranger(1), fixed: OWN + 99 };
    expect(book.held(client)).toBe(OWN + 99);
    book.bind(client, OWN + 99, 3600);
    expect([...store.leases.keys()]).toEqual([OWN + 99]);
  });

  test("a pool with a name is for clients that name it", () => {
    const pools = [
      { from: OWN + 10, to: OWN + 10 },
      { from: OWN + 30, to: OWN + 30, name: "bmc" },
    ];
    const { book } = createWorld({ pools });
    expect(book.choose({ ...stranger(1), pool: "bmc" }, OWN + 10)).toBe(OWN + 30);
    expect(book.choose(stranger(2), OWN + 30)).toBe(OWN + 10);
    expect(book.choose(stranger(3), undefined)).toBeUndefined();
  });

  test("a declined address is nobody's for a while, also after a restart", () => {
    const store = createMemoryLeases();
    const pools = [{ from: OWN + 10, to: OWN + 10 }];
    const first = createWorld({ pools, store });
    const address = first.book.choose(stranger(1), undefined) ?? 0;
    expect(first.book.decline(stranger(2), address)).toBe(false);
    expect(first.book.decline(stranger(1), address)).toBe(true);
    const again = createWorld({ pools, store });
    expect(again.book.choose(stranger(1), undefined)).toBeUndefined();
    expect(again.book.macAt(address)).toBeUndefined();
    again.advance(700);
    expect(again.book.choose(stranger(1), undefined)).toBe(address);
  });

  test("an offer nobody came for yields, but not before firmware had time to take it", () => {
    const world = createWorld({ pools: [{ from: OWN + 10, to: OWN + 10 }] });
    expect(world.book.choose(stranger(1), undefined)).toBe(OWN + 10);
    world.advance(5);
    expect(world.book.choose(stranger(2), undefined)).toBeUndefined();
    world.advance(6);
    expect(world.book.choose(stranger(2), undefined)).toBe(OWN + 10);
  });
});

describe("a hundred thousand leases and reservations", () => {
  const MANY = 100_000;
  const pools = [{ from: at("10.65.0.0"), to: at("10.68.255.255") }];

  test("an answer takes the same work as with ten", () => {
    const work = (count: number) => {
      const world = full(count);
      return Math.max(...Array.from({ length: 200 }, (_, turn) => counted(() => exchange(world.book, stranger(1e6 + turn)))));
    };
    expect(work(MANY)).toBeLessThanOrEqual(work(10) * 1.5);
  });

  test("also when the pool is used up and what expired must be found", () => {
    const work = (count: number) => {
      const world = createWorld({ pools: [{ from: at("10.65.0.0"), to: at("10.65.0.0") + count - 1 }] });
      for (let client = 0; client < count; client++) exchange(world.book, stranger(client));
      expect(world.book.size.free).toBe(0);
      world.advance(7200);
      return Math.max(...Array.from({ length: 50 }, (_, turn) => counted(() => exchange(world.book, stranger(1e6 + turn)))));
    };
    expect(work(MANY)).toBeLessThanOrEqual(work(100) * 2);
  });

  test("a flood of clients that never come back takes bounded memory and no lease of anybody", () => {
    const world = full(1000);
    const kept = world.book.held(stranger(5));
    for (let client = 0; client < 200_000; client++) world.book.choose(stranger(1e6 + client), undefined);
    expect(world.book.size.offers).toBeLessThanOrEqual(65_536);
    expect(world.book.size.leases).toBe(2000);
    expect(world.book.held(stranger(5))).toBe(kept);
  });

  test("memory grows with them in a straight line", () => {
    const perLease = (count: number) => {
      const before = usedBytes();
      const world = full(count);
      const bytes = (usedBytes() - before) / count;
      expect(world.book.size.leases).toBe(2 * count);
      return bytes;
    };
    perLease(1000);
    const [some, many] = [perLease(MANY / 4), perLease(MANY)];
    expect(many).toBeLessThan(some * 1.6);
    expect(many).toBeLessThan(3000);
  });

  /** So many leases of strangers, and so many of machines with reservations. */
  function full(count: number) {
    const reserved = Array.from({ length: count }, (_, offset) => at("10.70.0.0") + offset);
    const world = createWorld({ pools, fixed: reserved });
    for (let client = 0; client < count; client++) {
      exchange(world.book, stranger(client));
      exchange(world.book, { ...stranger(5e6 + client), fixed: reserved[client] });
    }
    return world;
  }
});

/** DISCOVER and REQUEST, as the server asks the book. */
function exchange(book: AddressBook, client: Client): void {
  const address = book.choose(client, undefined);
  if (address === undefined || book.held(client) !== address) throw new Error("no address");
  book.bind(client, address, 3600);
}

function createWorld(options: Pick<AddressBookOptions, "pools" | "fixed"> & { store?: LeaseStore }) {
  let now = Date.parse("2026-01-01T00:00:00Z");
  const clock: Clock = { now: () => new Date(now), sleep: () => Promise.resolve() };
  const store = options.store ?? createMemoryLeases();
  const network = { own: OWN, mask: 0xff000000 };
  const book = createAddressBook({ ...options, network, store, clock, isReserved: () => false });
  const advance = (seconds: number) => {
    now += seconds * 1000;
  };
  return { book, store, advance, now: () => now };
}

/** The last two have reservations. */
function clientOf(number: number): Client {
  const fixed = number === 6 ? OWN + 2 : number === 7 ? OWN + 9 : undefined;
  return { ...stranger(number), fixed };
}

function stranger(number: number): Client {
  const mac = `02:00:${number
    .toString(16)
    .padStart(8, "0")
    .replace(/(..)(?!$)/g, "$1:")}`;
  return { key: number % 2 ? `id:${number}` : `mac:${mac}`, mac };
}

function at(text: string): number {
  return parseIpv4(text) ?? 0;
}

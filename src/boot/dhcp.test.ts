import { beforeAll, describe, expect, test } from "vitest";
import { ipv4Text } from "../wire/index.ts";
import type { BootRecord } from "./contract.ts";
import { address, discoverFrom, segment, selecting } from "./dhcp.fixture.ts";
import { createMemoryLeases } from "./leases.ts";
import { counted, usedBytes } from "./work.fixture.ts";

const MANY = 100_000;

describe("a hundred thousand machines, reservations and leases", () => {
  let few: Measured;
  let some: Measured;
  let many: Measured;
  beforeAll(() => {
    [few, some, many] = [measured(1000), measured(MANY / 4), measured(MANY)];
  });

  test("memory grows with them in a straight line", () => {
    expect(many.bytesEach).toBeLessThan(some.bytesEach * 1.6);
  });

  test("an answer takes the same work as with a thousand, whoever asks", () => {
    // all machines are counted once
    for (const world of [few, many]) exchange(world, macOf(5, 0));
    const askers = [
      ["a stranger that was never here", (turn: number) => macOf(4, turn)],
      ["a stranger with a lease", (turn: number) => macOf(3, turn)],
      ["a client with a reservation", (turn: number) => macOf(2, turn)],
      ["a machine without an address", (turn: number) => macOf(1, turn)],
    ] as const;
    for (const [who, mac] of askers) {
      const work = (world: Full) => Math.max(...Array.from({ length: 50 }, (_, turn) => counted(() => exchange(world, mac(turn)))));
      expect(work(many), who).toBeLessThanOrEqual(work(few) * 1.5);
    }
  });

  test("what is kept for known machines is counted in parts, and right in the end", () => {
    const rounds = () => {
      many.advance(2);
      for (let turn = 0; turn < 250; turn++) many.owed();
    };
    // a round may have begun before the last of them got its address
    rounds();
    rounds();
    expect(many.owed()).toBe(MANY - 50);
  });
});

type Full = ReturnType<typeof full>;
type Measured = ReturnType<typeof measured>;

function measured(count: number) {
  const before = usedBytes();
  const world = full(count);
  return { ...world, bytesEach: (usedBytes() - before) / count };
}

/** So many known machines without an address, so many reservations, and so many leases of those and of strangers. */
function full(count: number) {
  const each = Array.from({ length: count }, (_, at) => at);
  const known = each.map((at): BootRecord => ({ machine: `m${at}`, macs: [macOf(1, at)], hostname: `m${at}`, intent: { boot: "disk" } }));
  const [pool, reserved] = [address("10.64.0.0"), address("10.96.0.0")];
  const store = createMemoryLeases();
  const expires = Date.parse("2026-02-01T00:00:00Z");
  for (const at of each) {
    const lease = (mac: string, of: number) => store.put({ address: of + at, client: `mac:${mac}`, mac, expires });
    lease(macOf(2, at), reserved);
    lease(macOf(3, at), pool);
  }
  const reservations = each.map((at) => ({ mac: macOf(2, at), address: ipv4Text(reserved + at) }));
  return segment({ known, store, pool: ["10.64.0.0", "10.71.255.255"], at: { address: "10.77.0.1/8", reservations } });
}

/** DISCOVER and REQUEST, a second after the last. */
function exchange({ ask, advance }: Full, mac: string): void {
  advance(1);
  const discover = discoverFrom(mac);
  ask(selecting(discover, ask(discover).frame.yourAddress));
}

function macOf(kind: number, at: number): string {
  return `02:0${kind}:${at
    .toString(16)
    .padStart(8, "0")
    .replace(/(..)(?!$)/g, "$1:")}`;
}

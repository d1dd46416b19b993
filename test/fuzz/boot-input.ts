import { seenMessages } from "../../src/wire/seen-dhcp.fixture.ts";
import { seenRequests } from "../../src/wire/seen-tftp.fixture.ts";
import type { Random } from "./random.ts";

const OPTIONS = 240;
const LONGEST = 1600;

/** Values at which programs break. */
const EDGES = [0, 1, 2, 3, 4, 6, 16, 63, 64, 127, 128, 254, 255] as const;
/** Options that a server acts upon. */
const TELLING = [12, 43, 50, 51, 52, 53, 54, 55, 57, 60, 61, 66, 67, 77, 82, 93, 94, 97, 118, 121, 150, 175] as const;

const messages = nonEmpty(seenMessages.map(({ bytes }) => bytes));
const requests = nonEmpty(seenRequests.map(({ bytes }) => bytes));

/**
 * Datagrams that are nearly right: what real clients sent, bent in some places. Each call overwrites the bytes of the one before.
 */
export interface Bender {
  dhcp(random: Random): Uint8Array;
  tftp(random: Random): Uint8Array;
}

export function createBender(): Bender {
  const buffer = new Uint8Array(LONGEST);

  function start(from: Uint8Array): number {
    buffer.fill(0);
    buffer.set(from);
    return from.length;
  }

  /** Options one after the other, some of them with a length that is a lie. */
  function appendOptions(random: Random, at: number): number {
    let end = at;
    for (let options = random.below(8); options > 0 && end < LONGEST - 300; options--) {
      const length = random.below(4) === 0 ? random.pick(EDGES) : random.below(20);
      buffer[end] = random.below(3) === 0 ? random.below(256) : random.pick(TELLING);
      buffer[end + 1] = random.below(16) === 0 ? random.below(256) : length;
      for (let byte = 0; byte < length; byte++) buffer[end + 2 + byte] = random.below(256);
      end += 2 + length;
    }
    if (random.below(8) > 0) buffer[end++] = 255;
    return end;
  }

  /** Options 54 and 50, right behind option 53. */
  function takeOffer(random: Random): number {
    const server = [10, 77, 0, random.below(8) === 0 ? 2 : 1];
    const wanted = [10, 77, 0, random.below(256)];
    buffer.copyWithin(OPTIONS + 15, OPTIONS + 3, LONGEST - 12);
    buffer.set([54, 4, ...server, 50, 4, ...wanted], OPTIONS + 3);
    return Math.min(LONGEST, buffer.findLastIndex((byte) => byte !== 0) + 1);
  }

  function bend(random: Random, length: number): number {
    for (let bends = random.below(6); bends > 0; bends--) {
      const at = random.below(length);
      const kind = random.below(4);
      if (kind === 0) buffer[at] = random.below(256);
      else if (kind === 1) buffer[at] = random.pick(EDGES);
      else if (kind === 2) buffer[at] = (buffer[at] ?? 0) ^ (1 << random.below(8));
      else buffer.copyWithin(at, random.below(length), random.below(length));
    }
    return random.below(8) === 0 ? random.below(length + 1) : length;
  }

  return {
    dhcp(random) {
      if (random.below(32) === 0) {
        const length = random.below(LONGEST);
        for (let at = 0; at < length; at++) buffer[at] = random.below(256);
        return buffer.subarray(0, length);
      }
      let length = start(random.pick(messages));
      // another client's options, or options nobody sends
      if (random.below(4) === 0) length = appendOptions(random, OPTIONS + 3);
      // behind a relay, from a NIC of its own, by another kind of message
      if (random.below(4) === 0) buffer.set([10, 77 + random.below(2), random.below(2), random.below(256)], 24);
      if (random.below(2) === 0) buffer.set([random.below(4), random.below(256)], 32);
      if (random.below(2) === 0) buffer[OPTIONS + 2] = random.below(random.below(4) === 0 ? 10 : 4);
      // a client that takes an offer: ours, or another server's
      if (random.below(4) === 0) length = takeOffer(random);
      if (random.below(8) === 0) buffer.set([10, 77, 0, random.below(256)], 12);
      return buffer.subarray(0, bend(random, length));
    },
    tftp(random) {
      if (random.below(8) === 0) {
        const length = random.below(100);
        for (let at = 0; at < length; at++) buffer[at] = random.below(256);
        if (random.below(2) === 0) buffer.set([0, random.below(8)]);
        return buffer.subarray(0, length);
      }
      const length = start(random.pick(requests));
      if (random.below(4) === 0) buffer[1] = random.below(8);
      return buffer.subarray(0, bend(random, length));
    },
  };
}

function nonEmpty<T>(list: readonly T[]): readonly [T, ...T[]] {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error("nothing was ever seen");
  return [first, ...rest];
}

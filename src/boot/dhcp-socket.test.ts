import type { RemoteInfo, Socket } from "node:dgram";
import { EventEmitter } from "node:events";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { systemClock } from "../core/clock.ts";
import type { Outgoing } from "./dhcp-server.ts";
import { serveDhcp } from "./dhcp-socket.ts";
import { createMemoryLeases, type LeaseStore } from "./leases.ts";
import { createRefusals } from "./refusals.ts";

const to = { address: "255.255.255.255", port: 68 };
const from: RemoteInfo = { address: "0.0.0.0", port: 68, family: "IPv4", size: 1 };

/** A socket, a disk and a server that do as the test says: each datagram is answered by itself, resting on the change named. */
function world() {
  const sent: number[] = [];
  const socket = Object.assign(new EventEmitter(), {
    setBroadcast: () => {},
    getRecvBufferSize: () => 8 << 20,
    send: (datagram: Uint8Array, port: number, address: string) => {
      expect({ address, port }).toEqual(to);
      sent.push(datagram[0] ?? -1);
    },
  });
  let synced = 0;
  let tell: (error: Error | undefined) => void = () => {};
  const leases: LeaseStore = {
    ...createMemoryLeases(),
    get synced() {
      return synced;
    },
    onSync(listener) {
      tell = listener;
      return () => {
        tell = () => {};
      };
    },
  };
  const refusals = createRefusals(pino({ level: "silent" }), systemClock);
  const answer = vi.fn((_: Uint8Array): Outgoing | undefined | Promise<Outgoing | undefined> => undefined);
  const stop = serveDhcp({ socket: socket as unknown as Socket, server: { answer }, leases, refusals, name: "prov0" });
  const ask = (number: number, commit?: number) => {
    answer.mockReturnValueOnce({ datagram: Uint8Array.of(number), to, ...(commit === undefined ? {} : { commit }) });
    socket.emit("message", Buffer.of(number), from);
  };
  /** The disk is done up to that change, or with an error. */
  const sync = (change: number, error?: Error) => {
    synced = change;
    tell(error);
  };
  return { socket, answer, ask, sync, stop, sent, refused: () => refusals.all() };
}

test("a reply leaves when the change it rests on is on disk, and not before", () => {
  const { ask, sync, sent } = world();
  ask(1, 1);
  ask(2, 2);
  ask(3, 3);
  expect(sent).toEqual([]);
  sync(2);
  expect(sent).toEqual([1, 2]);
  sync(2);
  expect(sent).toEqual([1, 2]);
  sync(3);
  expect(sent).toEqual([1, 2, 3]);
  sync(4);
  expect(sent).toEqual([1, 2, 3]);
});

test("what rests on no change, or on one that is on disk already, waits for nothing", () => {
  const { ask, sync, sent } = world();
  ask(1, 5);
  ask(2);
  expect(sent).toEqual([2]);
  sync(5);
  ask(3, 4);
  expect(sent).toEqual([2, 1, 3]);
});

test("an answer that the network was asked for first waits for the disk as well", async () => {
  const { socket, answer, sync, sent } = world();
  answer.mockReturnValueOnce(Promise.resolve({ datagram: Uint8Array.of(1), to, commit: 1 }));
  socket.emit("message", Buffer.of(1), from);
  await new Promise(setImmediate);
  expect(sent).toEqual([]);
  sync(1);
  expect(sent).toEqual([1]);
});

test("nobody is promised what could not be written: it is left out and counted, and the next is sent", () => {
  const { ask, sync, sent, refused } = world();
  ask(1, 1);
  ask(2, 2);
  sync(1, new Error("ENOSPC"));
  expect(sent).toEqual([1]);
  expect(refused()).toEqual({ "dhcp: a lease could not be written": 1 });
  ask(3, 3);
  sync(3);
  expect(sent).toEqual([1, 3]);
});

test("a disk that is too slow: what it has room for waits, the rest is left out, each counted", () => {
  const { ask, sync, sent, refused } = world();
  const room = 16_384;
  for (let change = 1; change <= room + 3; change++) ask(change % 256, change);
  expect(refused()).toEqual({ "dhcp: the disk is too slow": 3 });
  sync(2000);
  expect(sent.length).toBe(2000);
  // room for as many as left
  ask(7, room + 4);
  expect(refused()).toEqual({ "dhcp: the disk is too slow": 3 });
  sync(room + 4);
  expect(sent.length).toBe(room + 1);
});

test("one client's trouble is counted and does not end the service; stopped, nothing waits any more", async () => {
  const { socket, answer, ask, sync, stop, sent, refused } = world();
  answer.mockImplementationOnce(() => {
    throw new Error("odd");
  });
  socket.emit("message", Buffer.of(1), from);
  answer.mockReturnValueOnce(Promise.reject(new Error("odd later")));
  socket.emit("message", Buffer.of(2), from);
  await expect.poll(refused).toEqual({ "dhcp: failed": 2 });
  ask(3, 3);
  stop();
  sync(3);
  ask(4);
  expect(sent).toEqual([]);
});

import { Duplex } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { gpuIdentity } from "./argv.ts";
import { configSpace, servePci, takeFrames, understand } from "./gpu.ts";

/** As QEMU sends it: command, size, then address, value, length. */
function configMessage(command: number, address: number, value: number, length: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeInt32LE(command, 0);
  bytes.writeBigUInt64LE(12n, 8);
  bytes.writeUInt32LE(address, 16);
  bytes.writeUInt32LE(value, 20);
  bytes.writeInt32LE(length, 24);
  return bytes;
}

test("frames are whole or wait; what is no frame ends it", () => {
  const one = configMessage(3, 0, 0, 2);
  const two = Buffer.concat([one, one]);
  for (let cut = 0; cut <= two.length; cut += 1) {
    const taken = takeFrames(two.subarray(0, cut));
    expect(taken?.frames.length).toBe(Math.floor(cut / 28));
    expect(taken?.rest.length).toBe(cut % 28);
  }
  const huge = Buffer.alloc(16, 0xff);
  expect(takeFrames(huge)).toBeUndefined();
});

test("nothing a guest asks for reaches outside the configuration space", () => {
  fc.assert(
    fc.property(fc.integer(), fc.uint8Array({ maxLength: 64 }), (command, payload) => {
      const message = understand({ command, payload: Buffer.from(payload) });
      const space = configSpace(gpuIdentity("10de:2330"));
      if (message.kind === "read") space.read(message.address, message.length);
      if (message.kind === "write") space.write(message.address, message.length, message.value);
    }),
  );
});

test("an H100 by its IDs; its BAR tells its size, its identity cannot be written", () => {
  const space = configSpace(gpuIdentity("10de:2330"));
  expect(space.read(0, 4).toString(16)).toBe("233010de");
  expect(space.read(0x08, 4).toString(16)).toBe("30200a1");
  space.write(0x10, 4, 0xffffffff);
  expect(space.read(0x10, 4).toString(16)).toBe("ff000000");
  space.write(0x10, 4, 0xfd123456);
  expect(space.read(0x10, 4).toString(16)).toBe("fd000000");
  space.write(0, 4, 0);
  space.write(0x04, 2, 0x0006);
  expect([space.read(0, 2), space.read(0x04, 2)]).toEqual([0x10de, 6]);
});

test("reads, writes and resets are answered in order; memory and interrupt messages are not", () => {
  const answers: Buffer[] = [];
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      answers.push(chunk);
      done();
    },
  });
  servePci(socket, gpuIdentity("10de:2330"));
  const silent = Buffer.alloc(16);
  const reset = Buffer.alloc(16);
  reset.writeInt32LE(7, 0);
  socket.emit("data", Buffer.concat([silent, configMessage(3, 0, 0, 2), reset, configMessage(3, 2, 0, 2)]));
  const all = Buffer.concat(answers);
  expect(all.length).toBe(3 * 24);
  expect([0, 1, 2].map((index) => Number(all.readBigUInt64LE(index * 24 + 16)))).toEqual([0x10de, 0, 0x2330]);
});

import type { Duplex } from "node:stream";

/**
 * The far end of QEMU's `x-pci-proxy-dev`: QEMU asks over a socket what a PCI device's configuration space holds, so any
 * vendor's IDs can be shown. Inventory only: no driver will ever work with it.
 * The protocol is QEMU's multi-process one (hw/remote/mpqemu-link.c, include/hw/remote/mpqemu-link.h), QEMU 7.2.
 */
export interface PciIdentity {
  readonly vendor: number;
  readonly device: number;
  /** Base class, subclass and interface, e.g. 0x030200: a 3D controller. */
  readonly classCode: number;
  readonly revision: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
  /** Size of the one 32-bit memory BAR; a power of two. */
  readonly barBytes: number;
}

/** First step, the frame: a command and its payload, nothing understood yet. */
export interface ProxyFrame {
  readonly command: number;
  readonly payload: Buffer;
}

/** Second step, the meaning. */
export type ProxyMessage =
  | { readonly kind: "read"; readonly address: number; readonly length: number }
  | { readonly kind: "write"; readonly address: number; readonly length: number; readonly value: number }
  /** Wants an answer, whatever it is: a BAR access or a reset. */
  | { readonly kind: "answer" }
  /** Takes no answer: system memory and interrupt file descriptors. */
  | { readonly kind: "silent" };

const HEADER = 16;
/** The largest message of the protocol, SYNC_SYSMEM, has 192 bytes; more is not QEMU speaking. */
const LARGEST = 4_096;
const CONFIG_SPACE = 4_096;
const COMMAND = { syncMemory: 0, answer: 1, configWrite: 2, configRead: 3, barWrite: 4, barRead: 5, setIrq: 6, reset: 7 } as const;

/** Takes whole frames off `bytes`; what is left waits for more. Undefined: this is not the protocol. */
export function takeFrames(bytes: Buffer): { readonly frames: readonly ProxyFrame[]; readonly rest: Buffer } | undefined {
  const frames: ProxyFrame[] = [];
  let at = 0;
  while (bytes.length - at >= HEADER) {
    const size = bytes.readBigUInt64LE(at + 8);
    if (size > LARGEST) return undefined;
    const end = at + HEADER + Number(size);
    if (bytes.length < end) break;
    frames.push({ command: bytes.readInt32LE(at), payload: bytes.subarray(at + HEADER, end) });
    at = end;
  }
  return { frames, rest: bytes.subarray(at) };
}

export function understand({ command, payload }: ProxyFrame): ProxyMessage {
  if (command === COMMAND.syncMemory || command === COMMAND.setIrq) return { kind: "silent" };
  if ((command !== COMMAND.configRead && command !== COMMAND.configWrite) || payload.length < 12) return { kind: "answer" };
  const address = payload.readUInt32LE(0);
  const length = payload.readInt32LE(8);
  if (![1, 2, 4].includes(length) || address + length > CONFIG_SPACE) return { kind: "answer" };
  return command === COMMAND.configRead
    ? { kind: "read", address, length }
    : { kind: "write", address, length, value: payload.readUInt32LE(4) };
}

/** A device's configuration space (PCI Local Bus 3.0 §6.1), with what a guest may write to it. */
export function configSpace(identity: PciIdentity): {
  read(address: number, length: number): number;
  write(address: number, length: number, value: number): void;
} {
  const space = Buffer.alloc(CONFIG_SPACE);
  space.writeUInt16LE(identity.vendor, 0x00);
  space.writeUInt16LE(identity.device, 0x02);
  space.writeUInt8(identity.revision, 0x08);
  space.writeUIntLE(identity.classCode, 0x09, 3);
  space.writeUInt16LE(identity.subsystemVendor, 0x2c);
  space.writeUInt16LE(identity.subsystem, 0x2e);
  return {
    read: (address, length) => space.readUIntLE(address, length),
    write(address, length, value) {
      // a guest learns a BAR's size by writing ones and reading which bits stick
      if (address === 0x10 && length === 4) space.writeUInt32LE((value & ~(identity.barBytes - 1)) >>> 0, 0x10);
      else if (address === 0x04 || address === 0x3c)
        space.writeUIntLE(value & (length === 4 ? -1 >>> 0 : (1 << (8 * length)) - 1), address, length);
    },
  };
}

/**
 * Serves one device over QEMU's end of the socket pair. Descriptors QEMU passes along (its memory) are dropped by the
 * kernel, because libuv reads this stream with read(2).
 */
export function servePci(socket: Duplex, identity: PciIdentity): void {
  const space = configSpace(identity);
  let bytes = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    const taken = takeFrames(bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]));
    if (!taken) return void socket.destroy();
    bytes = Buffer.from(taken.rest);
    const answers = taken.frames.map((frame) => answerTo(understand(frame))).filter((one) => one !== undefined);
    if (answers.length > 0) socket.write(Buffer.concat(answers));
  });

  function answerTo(message: ProxyMessage): Buffer | undefined {
    if (message.kind === "silent") return undefined;
    if (message.kind === "write") space.write(message.address, message.length, message.value);
    const answer = Buffer.alloc(HEADER + 8);
    answer.writeInt32LE(COMMAND.answer, 0);
    answer.writeBigUInt64LE(8n, 8);
    if (message.kind === "read") answer.writeBigUInt64LE(BigInt(space.read(message.address, message.length)), HEADER);
    return answer;
  }
}

import fc from "fast-check";
import { expect, test } from "vitest";
import { parseTftp, type TftpPacket } from "../wire/index.ts";
import { createTransfer, negotiate, type TransferEnd } from "./tftp-transfer.ts";

const ack = (block: number): TftpPacket => ({ kind: "ack", block });
const asked = (options: Record<string, string>) => new Map(Object.entries(options));

test("options: granted as far as sound, odd ones left out", () => {
  const size = 1000;
  expect([...negotiate(asked({ blksize: "9000", windowsize: "4", tsize: "0", timeout: "3", multicast: "" }), size).granted]).toEqual([
    ["blksize", "1468"],
    ["timeout", "3"],
    ["tsize", "1000"],
    ["windowsize", "4"],
  ]);
  expect(negotiate(asked({ blksize: "7", windowsize: "0", timeout: "-1" }), size).granted.size).toBe(0);
});

test("a duplicate acknowledgement is not answered", () => {
  const transfer = createTransfer(new Uint8Array(2000), negotiate(asked({}), 2000), () => 0);
  transfer.begin();
  expect(blocks(transfer.receive(ack(1)).send)).toEqual([2]);
  expect(transfer.receive(ack(1)).send).toEqual([]);
  expect(transfer.receive(ack(0)).send).toEqual([]);
  expect(transfer.receive(ack(7)).send).toEqual([]);
});

test("a file that fills its last block ends with an empty one", () => {
  const transfer = createTransfer(new Uint8Array(1024), negotiate(asked({}), 1024), () => 0);
  transfer.begin();
  transfer.receive(ack(1));
  expect(transfer.receive(ack(2)).send.map((datagram) => datagram.length)).toEqual([4]);
  expect(transfer.receive(ack(3)).end).toBe("done");
});

test("asking for the size and ending is no failure", () => {
  const probe = createTransfer(new Uint8Array(10), negotiate(asked({ tsize: "0" }), 10), () => 0);
  probe.begin();
  expect(probe.receive({ kind: "error", code: 8, message: "User aborted the transfer" }).end).toBe("size-probe");
  const begun = createTransfer(new Uint8Array(1000), negotiate(asked({ tsize: "0" }), 1000), () => 0);
  begun.begin();
  begun.receive(ack(0));
  begun.receive(ack(1));
  expect(begun.receive({ kind: "error", code: 0, message: "" }).end).toBe("aborted");
});

test("silence ends it after six tries", () => {
  const transfer = createTransfer(new Uint8Array(10), negotiate(asked({}), 10), () => 0);
  transfer.begin();
  const ends = Array.from({ length: 6 }, () => transfer.expire().end);
  expect(ends).toEqual([undefined, undefined, undefined, undefined, undefined, "unanswered"]);
});

test("block numbers roll over", () => {
  const file = new Uint8Array(8 * 70_000).map((_, at) => at % 251);
  expect(download(file, { blksize: "8", windowsize: "32" }, () => "deliver").equals(Buffer.from(file))).toBe(true);
});

test("over a line that loses and doubles, what arrives is the file", () => {
  const fate = fc.constantFrom("deliver" as const, "deliver" as const, "deliver" as const, "lose" as const, "double" as const);
  const line = fc.infiniteStream(fate);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 6000 }),
      fc.constantFrom("1", "3", "16"),
      fc.boolean(),
      line,
      (file, windowsize, options, fates) => {
        let patience = 400;
        const next = () => (patience-- > 0 ? fates.next().value : "deliver");
        expect(download(file, options ? { windowsize } : {}, next).equals(Buffer.from(file))).toBe(true);
      },
    ),
    { numRuns: 300 },
  );
});

/** A client of RFC 7440 on a bad line, which is never bad for as long as the server is patient: after three time-outs in a row it delivers. */
function download(file: Uint8Array, options: Record<string, string>, fate: () => "deliver" | "lose" | "double"): Buffer {
  const granted = negotiate(asked(options), file.length);
  const window = Number(granted.granted.get("windowsize") ?? 1);
  const transfer = createTransfer(file, granted, () => 0);
  const parts: Uint8Array[] = [];
  let got = 0;
  let end: TransferEnd | undefined;
  let timeouts = 0;
  let toClient = pass(transfer.begin());

  for (let step = 0; end === undefined && step < 100_000; step++) {
    const acks: TftpPacket[] = [];
    let since = 0;
    for (const datagram of toClient) {
      const packet = parseTftp(datagram);
      if (typeof packet === "string") throw new Error(packet);
      if (packet.kind === "optionAck") acks.push(ack(0));
      if (packet.kind !== "data") continue;
      if (packet.block !== ((got + 1) & 0xffff)) {
        acks.push(ack(got & 0xffff));
        continue;
      }
      got += 1;
      since += 1;
      parts.push(packet.data);
      if (since === window || packet.data.length < granted.blockSize) {
        acks.push(ack(got & 0xffff));
        since = 0;
      }
    }
    toClient = [];
    for (const packet of pass(acks)) {
      const next = transfer.receive(packet);
      end ??= next.end;
      if (next.send.length > 0) timeouts = 0;
      toClient.push(...pass(next.send));
    }
    if (end === undefined && toClient.length === 0) {
      timeouts += 1;
      const next = transfer.expire();
      end ??= next.end;
      toClient = pass(next.send);
    }
  }
  return Buffer.concat(parts);

  function pass<T>(what: readonly T[]): T[] {
    return what.flatMap((one) => ({ deliver: [one], lose: [], double: [one, one] })[timeouts < 3 ? fate() : "deliver"]);
  }
}

function blocks(datagrams: readonly Uint8Array[]): number[] {
  return datagrams.map((datagram) => {
    const packet = parseTftp(datagram);
    return typeof packet !== "string" && packet.kind === "data" ? packet.block : -1;
  });
}

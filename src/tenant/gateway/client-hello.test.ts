import { createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { type ClientHello, frameHello, type HelloFrame, LONGEST_HELLO, readHello, tlsAlert } from "./client-hello.ts";

/** What this Node's own TLS sends. */
let real: Buffer;
let nameless: Buffer;

beforeAll(async () => {
  real = await helloOf({ servername: "Acme.Default.Tenants.Example", ALPNProtocols: ["h2", "http/1.1"] });
  nameless = await helloOf({});
});

function helloOf(options: object): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.once("data", (bytes: Buffer) => {
        resolve(bytes);
        socket.destroy();
        server.close();
      });
    });
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (typeof address !== "object" || !address) return reject(new Error("no port"));
      connectTls({ host: "127.0.0.1", port: address.port, rejectUnauthorized: false, ...options }).on("error", () => {});
    });
  });
}

function nameOf(bytes: Buffer): ClientHello | string {
  const frame = frameHello(bytes);
  if (frame.kind !== "frame") return frame.kind === "more" ? "more" : frame.reason;
  const meaning = readHello(frame.body);
  return meaning.kind === "hello" ? meaning.hello : meaning.reason;
}

function record(payload: Buffer): Buffer {
  const header = Buffer.from([22, 3, 1, 0, 0]);
  header.writeUInt16BE(payload.length, 3);
  return Buffer.concat([header, payload]);
}

/** A ClientHello of our own making. */
function made(extensions: Buffer | undefined, session = Buffer.alloc(32)): Buffer {
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([session.length]),
    session,
    Buffer.from([0, 2, 0x13, 0x01, 1, 0]),
    ...(extensions ? [length16(extensions)] : []),
  ]);
  const header = Buffer.from([1, 0, 0, 0]);
  header.writeUIntBE(body.length, 1, 3);
  return Buffer.concat([header, body]);
}

function length16(bytes: Buffer): Buffer {
  const header = Buffer.alloc(2);
  header.writeUInt16BE(bytes.length);
  return Buffer.concat([header, bytes]);
}

function extension(type: number, data: Buffer): Buffer {
  const header = Buffer.alloc(2);
  header.writeUInt16BE(type);
  return Buffer.concat([header, length16(data)]);
}

function serverName(text: string): Buffer {
  return extension(0, length16(Buffer.concat([Buffer.from([0]), length16(Buffer.from(text, "latin1"))])));
}

test("a real client's server name is read, in lower case, and the value is frozen", () => {
  const hello = nameOf(real);
  expect(hello).toEqual({ serverName: "acme.default.tenants.example" });
  expect(Object.isFrozen(hello)).toBe(true);
});

test("who names nobody is nameless, also without any extension", () => {
  expect(nameOf(nameless)).toEqual({});
  expect(nameOf(record(made(undefined)))).toEqual({});
});

test("every beginning of it wants more, and never more than the whole", () => {
  for (let end = 0; end < real.length; end += 1) {
    const frame = frameHello(real.subarray(0, end));
    expect(frame.kind).toBe("more");
    if (frame.kind === "more") {
      expect(frame.atLeast).toBeGreaterThan(end);
      expect(frame.atLeast).toBeLessThanOrEqual(real.length);
    }
  }
});

test("however it is cut into records, it says the same", () => {
  const message = real.subarray(5);
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 1, max: message.length - 1 }), { maxLength: 60 }), (cuts) => {
      const ends = [...cuts.sort((a, b) => a - b), message.length];
      const records = ends.map((end, index) => record(message.subarray(ends[index - 1] ?? 0, end)));
      expect(nameOf(Buffer.concat(records))).toEqual({ serverName: "acme.default.tenants.example" });
    }),
  );
});

test("no bytes at all, and no bend of real ones, are more than malformed", () => {
  const kinds: HelloFrame["kind"][] = ["frame", "more", "malformed"];
  const look = (bytes: Buffer) => {
    const frame = frameHello(bytes);
    expect(kinds).toContain(frame.kind);
    if (frame.kind === "more") expect(frame.atLeast).toBeGreaterThan(bytes.length);
    if (frame.kind === "frame") expect(["hello", "malformed"]).toContain(readHello(frame.body).kind);
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => look(Buffer.from(bytes))),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => void readHello(Buffer.from(bytes))),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.nat(real.length),
      (bends, end) => {
        const bent = Buffer.from(real);
        for (const [at, byte] of bends) bent[at] = byte;
        look(bent);
        look(bent.subarray(0, end));
      },
    ),
    { numRuns: 5_000 },
  );
});

test("any name that is one is read, whatever stands around it", () => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
  const others = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 65535 }), fc.uint8Array({ maxLength: 40 })), {
    maxLength: 8,
    selector: ([type]) => type,
  });
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 6 }), others, others, (labels, before, after) => {
      const types = new Set(before.map(([type]) => type));
      const extensions = [
        ...before.map(([type, data]) => extension(type, Buffer.from(data))),
        serverName(labels.join(".").toUpperCase()),
        ...after.filter(([type]) => !types.has(type)).map(([type, data]) => extension(type, Buffer.from(data))),
      ];
      expect(nameOf(record(made(Buffer.concat(extensions))))).toEqual({ serverName: labels.join(".") });
    }),
  );
});

test.each<[string, () => Buffer, string]>([
  ["plain HTTP", () => Buffer.from("GET / HTTP/1.1\r\n\r\n"), "not a TLS handshake"],
  ["an alert", () => tlsAlert("decodeError"), "not a TLS handshake"],
  ["SSL 2", () => Buffer.from([22, 2, 0, 0, 5, 1, 0, 0, 0, 0]), "not a version of TLS"],
  ["an empty record", () => Buffer.from([22, 3, 1, 0, 0]), "an empty record"],
  ["an oversized record", () => Buffer.from([22, 3, 1, 0x40, 1]), "a record of 16385 bytes"],
  ["an oversized hello", () => record(Buffer.from([1, 0, 0x40, 1, 3, 3])), `a ClientHello of ${LONGEST_HELLO + 1} bytes`],
  ["a ServerHello", () => record(Buffer.from([2, 0, 0, 1, 3])), "a handshake that does not begin with a ClientHello"],
  ["something behind it", () => record(Buffer.concat([made(undefined), Buffer.from([0])])), "more in the record than a ClientHello"],
  [
    "crumbs",
    () => Buffer.concat([...made(Buffer.alloc(0))].map((byte) => record(Buffer.from([byte])))),
    "a ClientHello in more than 64 records",
  ],
  ["one extension twice", () => record(made(Buffer.concat([serverName("a.b"), serverName("a.b")]))), "extension 0 twice"],
  ["a length that lies", () => record(made(Buffer.from([0, 0, 0, 9, 1]))), "extensions whose lengths do not add up"],
  ["an empty name", () => record(made(serverName(""))), "a server name that is none"],
  ["a name with a zero", () => record(made(serverName("acme\0.example"))), "a server name that is none"],
  ["a name that ends in a dot", () => record(made(serverName("acme.example."))), "a server name that is none"],
  ["a path for a name", () => record(made(serverName("../../etc"))), "a server name that is none"],
  ["a name too long", () => record(made(serverName(Array.from({ length: 64 }, () => "abc").join(".")))), "a server name that is none"],
])("%s is told", (_, bytes, reason) => {
  expect(nameOf(bytes())).toBe(reason);
});

test("alerts are fatal, as RFC 8446 numbers them", () => {
  expect([...tlsAlert("unrecognizedName")]).toEqual([21, 3, 3, 0, 2, 2, 112]);
});

/** The small part that is used of two packages that carry no types of their own. */
declare module "dhcp/lib/options.js" {
  const table: { readonly opts: Readonly<Record<string, { readonly name: string; readonly type?: string }>> };
  export = table;
}

declare module "dhcp/lib/seqbuffer.js" {
  /** A cursor over a buffer: `get<Type>(length)` reads, `add<Type>(value)` writes. */
  const SeqBuffer: new (buffer: Buffer) => unknown;
  export = SeqBuffer;
}

declare module "tftp/lib/protocol/packets/index.js" {
  const packets: {
    readonly ack: { serialize(block: number): Buffer; deserialize(datagram: Buffer): { readonly block: number } };
    readonly data: {
      serialize(block: number, data: Buffer): Buffer;
      deserialize(datagram: Buffer, blockSize: number): { readonly block: number; readonly data: Buffer };
    };
    readonly error: {
      serialize(error: { readonly code: number; readonly message: string }): Buffer;
      deserialize(datagram: Buffer): { readonly code: number; readonly message: string };
    };
    readonly oack: {
      serialize(options: Readonly<Record<string, string>>): Buffer;
      deserialize(datagram: Buffer): Readonly<Record<string, string>>;
    };
  };
  export = packets;
}

declare module "tftp/lib/protocol/packets/read-string.js" {
  /** The zero-terminated string at `cursor.offset`, which moves behind it; throws when there is no end. */
  function readString(datagram: Buffer, cursor: { offset: number }): string;
  export = readString;
}

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

declare module "dhcp/lib/protocol.js" {
  const protocol: {
    /** Throws at what it does not like. Options by their number; hardware address as `02-00-…`. */
    parse(datagram: Buffer): {
      readonly op: number;
      readonly xid: number;
      readonly yiaddr: string;
      readonly siaddr: string;
      readonly file: string;
      readonly options: Readonly<Record<string, unknown>>;
    };
    format(message: Readonly<Record<string, unknown>>): { readonly _data: Buffer; readonly _w: number };
  };
  export = protocol;
}

declare module "tftp/lib/client.js" {
  const Client: new (
    options: Readonly<Record<string, string | number>>,
  ) => {
    get(remote: string, local: string, done: (error?: Error) => void): void;
  };
  export = Client;
}

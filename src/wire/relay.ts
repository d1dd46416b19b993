/** What a relay agent says about the client it speaks for: RFC 3046 and the sub-options that came after it. */
export interface RelayInformation {
  /** 1: the port the client is on, as the relay names it. */
  readonly circuitId: Uint8Array | undefined;
  /** 2: the client's end, or the switch. */
  readonly remoteId: Uint8Array | undefined;
  /** 5 (RFC 3527): the subnet the client is on, where giaddr does not say it. */
  readonly linkSelection: number | undefined;
  /** 10 (RFC 5010): the client sent its message to one address, not to everybody. */
  readonly wasUnicast: boolean | undefined;
  /** 11 (RFC 5107): the server identifier the client is to know us by. */
  readonly serverOverride: number | undefined;
  /** 19 (RFC 8357): answers go to the port the message came from. */
  readonly toSourcePort: boolean;
}

const SUBOPTION = { circuitId: 1, remoteId: 2, linkSelection: 5, flags: 10, serverOverride: 11, sourcePort: 19 } as const;
const UNICAST = 0x80;

/** Option 82's meaning, or undefined when its sub-options overrun it. Sub-options nobody knows are passed over. */
export function parseRelayInformation(bytes: Uint8Array): RelayInformation | undefined {
  const found = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length; ) {
    const code = bytes[at];
    const length = bytes[at + 1];
    if (code === undefined || length === undefined || at + 2 + length > bytes.length) return undefined;
    // the first one counts, as the relay next to the client wrote it
    if (!found.has(code)) found.set(code, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  const flags = found.get(SUBOPTION.flags);
  return {
    circuitId: found.get(SUBOPTION.circuitId),
    remoteId: found.get(SUBOPTION.remoteId),
    linkSelection: addressOf(found.get(SUBOPTION.linkSelection)),
    wasUnicast: flags?.length === 1 ? ((flags[0] ?? 0) & UNICAST) !== 0 : undefined,
    serverOverride: addressOf(found.get(SUBOPTION.serverOverride)),
    toSourcePort: found.has(SUBOPTION.sourcePort),
  };
}

function addressOf(bytes: Uint8Array | undefined): number | undefined {
  return bytes?.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) : undefined;
}

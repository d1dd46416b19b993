/** The kinds of clients that are played. */
export const KINDS = ["plain", "bios", "uefi", "http", "ipxe"] as const;
export type Kind = (typeof KINDS)[number];

export const kindNames: Readonly<Record<Kind, string>> = {
  plain: "a plain DHCP client",
  bios: "BIOS PXE",
  uefi: "UEFI PXE",
  http: "UEFI HTTP Boot",
  ipxe: "iPXE",
};

/** One OFFER as a client of some kind got it. */
export interface Offer {
  readonly kind: Kind;
  /** Where the datagram came from. */
  readonly from: string;
  /** Option 54. */
  readonly server: string;
  /** `0.0.0.0` from a ProxyDHCP server, which gives no address. */
  readonly address: string;
  readonly nextServer: string;
  /** A file's name, or a URL. */
  readonly file: string;
  /** Option 60. */
  readonly vendorClass: string;
  readonly seconds: number;
}

/** What the probe in its own process tells, a line of JSON each. */
export type Observation =
  | ({ readonly saw: "offer" } & Offer)
  /** All offers that are to come have come. */
  | { readonly saw: "offers-over"; readonly seconds: number }
  | { readonly saw: "lease"; readonly server: string; readonly address: string; readonly got: "ack" | "nak" | "nothing" }
  /** The answer of a ProxyDHCP server on port 4011 to a REQUEST. */
  | { readonly saw: "proxy"; readonly server: string; readonly answered: boolean }
  | {
      readonly saw: "tftp";
      readonly server: string;
      readonly file: string;
      readonly blockSize: number;
      readonly got: "file" | "refusal" | "nothing";
      readonly detail: string;
    }
  | { readonly saw: "http"; readonly url: string; readonly got: "answer" | "nothing"; readonly detail: string }
  | { readonly saw: "relayed"; readonly server: string; readonly relay: string; readonly answered: boolean }
  | { readonly saw: "trouble"; readonly detail: string };

/** What the probe is to do. */
export interface ProbePlan {
  readonly task: "boot" | "relay";
  /** Locally administered: `02:…` */
  readonly mac: string;
  readonly interface: string;
  /** The boot plane, where it is known. */
  readonly server?: string | undefined;
  /** May give the interface the leased address: only in a namespace that is the probe's own. */
  readonly configure: boolean;
  /** Address that a relay's requests are sent from. */
  readonly relay?: string | undefined;
  readonly httpPort: number;
  readonly waitMs: number;
}

/** The two clients that tests use as independent peers; the packages carry no types. */
declare module "dhcp" {
  const dhcp: {
    createClient(options: { readonly mac: string }): {
      on(event: "error", listener: (error: unknown) => void): void;
      on(event: "message", listener: (message: { readonly yiaddr: string }) => void): void;
      on(event: "bound", listener: (state: unknown) => void): void;
      on(event: "listening", listener: () => void): void;
      readonly _state: { address: string };
      sendDiscover(): void;
      listen(): void;
    };
  };
  export = dhcp;
}

declare module "tftp" {
  const tftp: {
    createClient(options: { readonly host: string; readonly port: number }): {
      get(remote: string, local: string, done: (error?: Error) => void): void;
    };
  };
  export = tftp;
}

import { createServer } from "node:net";

const LOOPBACK = "127.0.0.1";

/** Whether nobody listens there now. */
export async function isFree(port: number, address: string = LOOPBACK): Promise<boolean> {
  return (await listenOnce(port, address)) !== undefined;
}

/** A port that nobody listens on: the kernel just had it. */
export async function freePort(address: string = LOOPBACK): Promise<number> {
  const port = await listenOnce(0, address);
  if (port === undefined) throw new Error(`no free port on ${address}`);
  return port;
}

function listenOnce(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ port, host }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? address?.port : undefined));
    });
  });
}

import type { RemoteInfo, Socket } from "node:dgram";
import { reasonOf } from "../core/errors.ts";
import type { DhcpServer, Outgoing } from "./dhcp-server.ts";
import type { LeaseChange, LeaseStore } from "./leases.ts";
import type { DhcpMeter } from "./meters.ts";
import type { Refusals } from "./refusals.ts";

export interface DhcpSocketOptions {
  readonly socket: Socket;
  readonly server: DhcpServer;
  readonly leases: LeaseStore;
  readonly refusals: Refusals;
  /** The interface's name. */
  readonly name: string;
  readonly meter?: DhcpMeter | undefined;
}

/** What clients sent while the daemon was busy elsewhere waits in the kernel: a rack that boots at once must fit. */
const RECEIVE_BUFFER = 4 << 20;
/** Replies that wait for the disk. A client whose reply is left out asks again in a few seconds. */
const MOST_WAITING = 16_384;

/**
 * Answers on one interface's DHCP socket. A reply that rests on a change of leases leaves when that change is on disk; all
 * changes of one turn of the event loop are synced as one group.
 * @returns ends it; the socket is still to be closed
 */
export function serveDhcp(options: DhcpSocketOptions): () => void {
  const { socket, server, leases, refusals, name, meter } = options;
  /** In the order of their changes, from `next` on. */
  let waiting: { readonly reply: Outgoing; readonly change: LeaseChange; readonly at: number }[] = [];
  let next = 0;

  socket.setBroadcast(true);
  try {
    // the native program may take more than this process may: asking again would make it less
    if (socket.getRecvBufferSize() < RECEIVE_BUFFER) socket.setRecvBufferSize(RECEIVE_BUFFER);
  } catch (error) {
    refusals.count("dhcp: small receive buffer", { interface: name, error: reasonOf(error) });
  }
  socket.on("error", (error) => refusals.count("dhcp: socket", { error: reasonOf(error) }));
  socket.on("message", onDatagram);
  const stopWaiting = leases.onSync(onSync);

  function onDatagram(datagram: Buffer, peer: RemoteInfo): void {
    const at = meter?.received(datagram) ?? 0;
    try {
      const reply = server.answer(datagram, peer);
      if (reply instanceof Promise) return void reply.then((later) => dispatch(later, at)).catch((error: unknown) => failed(error, peer));
      dispatch(reply, at);
    } catch (error) {
      failed(error, peer);
    }
  }

  /** One client's trouble must neither end the service of the others nor fill the log. */
  function failed(error: unknown, peer: RemoteInfo): void {
    refusals.count("dhcp: failed", { interface: name, from: peer.address, error: reasonOf(error) });
  }

  /** @param at when what it answers came */
  function dispatch(reply: Outgoing | undefined, at: number): void {
    if (!reply) return;
    if (reply.commit === undefined || reply.commit <= leases.synced) send(reply, at);
    else if (waiting.length - next < MOST_WAITING) waiting.push({ reply, change: reply.commit, at });
    else refusals.count("dhcp: the disk is too slow", { interface: name });
  }

  function onSync(error: Error | undefined): void {
    for (; next < waiting.length; next++) {
      const one = waiting[next];
      if (one && one.change > leases.synced) break;
      if (one) send(one.reply, one.at);
    }
    if (error && next < waiting.length) {
      // nobody is promised what is not on disk: they ask again
      refusals.count("dhcp: a lease could not be written", { interface: name, error: reasonOf(error) });
      next = waiting.length;
    }
    if (next === waiting.length) waiting = [];
    else if (next > 1024) waiting = waiting.slice(next);
    else return;
    next = 0;
  }

  function send(reply: Outgoing, at: number): void {
    meter?.sent(reply.datagram, at);
    socket.send(reply.datagram, reply.to.port, reply.to.address, sent);
  }

  function sent(error: Error | null): void {
    if (error) refusals.count("dhcp: not sent", { interface: name, error: reasonOf(error) });
  }

  return () => {
    stopWaiting();
    socket.off("message", onDatagram);
  };
}

import type { Socket } from "node:net";

/** What went over one road: people's, nodes', or egress. */
export interface RoadCount {
  /** Connections now. */
  readonly open: number;
  /** Let in, ever. */
  readonly accepted: number;
  /** By reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** Bytes from whoever connected, and to them. */
  readonly received: number;
  readonly sent: number;
}

export interface Tally {
  refuse(reason: string): void;
  /** Counts a connection until it closes, and calls `left` then. */
  count(socket: Socket, left: () => void): void;
  /** Ends all there are. */
  cut(): void;
  read(): RoadCount;
}

export function tally(): Tally {
  const open = new Set<Socket>();
  const refused: Record<string, number> = {};
  let accepted = 0;
  let [received, sent] = [0, 0];
  return {
    refuse(reason) {
      refused[reason] = (refused[reason] ?? 0) + 1;
    },
    count(socket, left) {
      accepted += 1;
      open.add(socket);
      socket.once("close", () => {
        open.delete(socket);
        received += socket.bytesRead;
        sent += socket.bytesWritten;
        left();
      });
    },
    cut() {
      for (const socket of open) socket.destroy();
    },
    read() {
      let [nowReceived, nowSent] = [received, sent];
      for (const socket of open) {
        nowReceived += socket.bytesRead;
        nowSent += socket.bytesWritten;
      }
      return { open: open.size, accepted, refused: { ...refused }, received: nowReceived, sent: nowSent };
    },
  };
}

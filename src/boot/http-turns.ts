/** Turns at sending, so that a thousand clients at once each progress and none keeps the others waiting. */
export interface Turns {
  /** Resolves when it is the client's turn; what it resolves to ends the turn. */
  take(client: string): Promise<() => void>;
}

/** @param most turns at once; memory and time on the wire are bounded by it */
export function createTurns(most: number): Turns {
  /** Who waits, by client, in the order of their turns: however many connections a client has, it gets one turn a round. */
  const waiting = new Map<string, (() => void)[]>();
  let running = 0;

  function next(): void {
    while (running < most) {
      const [first] = waiting;
      if (!first) return;
      const [client, queue] = first;
      const begin = queue.shift();
      waiting.delete(client);
      if (queue.length > 0) waiting.set(client, queue);
      running += 1;
      begin?.();
    }
  }

  return {
    take(client) {
      return new Promise((resolve) => {
        let isOver = false;
        const end = () => {
          if (isOver) return;
          isOver = true;
          running -= 1;
          next();
        };
        const queue = waiting.get(client) ?? [];
        waiting.set(client, queue);
        queue.push(() => resolve(end));
        next();
      });
    },
  };
}

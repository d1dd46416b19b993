/** Asks the network whether somebody has an address already: RFC 2131 §3.1, step 2. */
export interface ConflictProbe {
  isUsed(address: number): Promise<boolean>;
}

/**
 * How often each device reads in the end. Twice as usual: the first may be told of a loss, and has to look again. Twice from a
 * replica: the first may find a connection dead, or a doubt that only the primary settles. By the last one a session knows all
 * that there is to know, and the replica must serve.
 */
export const FINAL_ROUNDS = 4

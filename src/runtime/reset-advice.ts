/** How errors name the ways out: the command lines to type, with the way to Kafka that `druse run` was given. */

/** Regions cannot be trusted. */
export const RESET = "To start over from empty regions: 'druse reset MODULE' (first with --dry-run)"

/** Regions are whole; what is wrong is where the inputs go on. */
export const RESET_OR_KEEP =
  "To start over from empty regions: 'druse reset MODULE'. To keep the regions and go on where the offsets stand now, or elsewhere: 'druse reset MODULE --keep-state' (both first with --dry-run)"

export const RESET_AGAIN = "Run 'druse reset MODULE' again, without --keep-state: it goes on where it was"

/** Names on the cluster. With prefixes, several of these jobs share one. */
export interface Names {
  readonly application: string
  /** Transactional id of the feeder, and the group of its positions. */
  readonly feeder: string
  readonly flights: string
  readonly airports: string
  readonly airportDelays: string
  readonly lateFlights: string
}

export function namesOf(prefix: string): Names {
  return {
    application: `${prefix}flight-delays`,
    feeder: `${prefix}flights-feeder`,
    flights: `${prefix}flights`,
    airports: `${prefix}airports`,
    airportDelays: `${prefix}airport-delays`,
    lateFlights: `${prefix}late-flights`,
  }
}

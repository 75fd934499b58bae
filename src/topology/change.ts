/** An update of a table. What operators of tables get and forward; streams get the new value alone. */
export class Change<V = unknown> {
  /** Null: nothing stands under the key any more. */
  readonly newValue: V | null
  /** Null: nothing stood there, or it is not known (see `TableOrigin.sendOldValues`). */
  readonly oldValue: V | null

  constructor(newValue: V | null, oldValue: V | null) {
    this.newValue = newValue
    this.oldValue = oldValue
  }
}

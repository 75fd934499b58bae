/** One line that changes on a terminal; elsewhere a line now and then. */
export class Progress {
  readonly #render: () => string
  readonly #timer: NodeJS.Timeout
  #shown = ''
  #isOver = false

  constructor(everyMs: number, render: () => string) {
    this.#render = render
    this.#timer = setInterval(() => this.#show(), everyMs)
  }

  /** Shows the last state, whatever the time, and ends the line. */
  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearInterval(this.#timer)
    this.#show()
    if (process.stdout.isTTY) process.stdout.write('\n')
  }

  #show(): void {
    const text = this.#render()
    if (text === this.#shown) return
    this.#shown = text
    process.stdout.write(process.stdout.isTTY ? `\r\x1b[K${text}` : `${text}\n`)
  }
}

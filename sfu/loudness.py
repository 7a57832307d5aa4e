"""Who is speaking, from the audio level each packet carries (RFC 6464)."""

SILENCE = -127.0  # dBov

# Speech is -40 to -15 dBov, noise that passed a suppressor below -60. Different thresholds on the
# way up and down, and a hang over the gaps between words, keep the answer from flickering.
SPEAKING_ABOVE = -45.0
SILENT_BELOW = -55.0
HANG_S = 0.5
ATTACK = 0.3  # a voice shows within 5 packets, 100 ms
RELEASE = 0.1


class Loudness:
    """Smoothed level of one audio track, and whether it is someone speaking."""

    __slots__ = ("_loud_at", "level", "speaking")

    def __init__(self) -> None:
        self.level = SILENCE
        self.speaking = False
        self._loud_at = 0.0

    def receive(self, level: int, now: float) -> None:
        """Take the level of one packet: 0 loudest to 127 silence, negated dBov."""
        step = -level - self.level
        self.level += step * (ATTACK if step > 0 else RELEASE)
        if self.level > SPEAKING_ABOVE or (self.speaking and self.level > SILENT_BELOW):
            self.speaking = True
            self._loud_at = now
        elif now - self._loud_at > HANG_S:
            self.speaking = False

    def handle_timeout(self, now: float) -> None:
        """Notice that packets stopped coming: discontinuous transmission ends in silence."""
        if now - self._loud_at > HANG_S:
            self.silence()

    def silence(self) -> None:
        """Forget what was heard."""
        self.level = SILENCE
        self.speaking = False

"""Voice and video: a selective forwarding unit that never decodes.

The path of a media packet, all in one call and without an await:

1. `udp` reads a datagram, or `tcp` a framed packet where UDP is blocked; `transport` tells STUN,
   DTLS and SRTP apart, decrypts and calls
2. `publisher.Publisher.receive_rtp`: finds the SSRC's `source` (or binds it by MID), unwraps RTX;
   `nack.LossDetector` extends the number, notes what is missing, drops duplicates;
3. `track.Track.receive`: gives the packet its place without holes, reads audio level and key
   frames, and for each `subscription.Flavour` of receivers calls
4. `rewrite.normalise` once, keeps the result in the flavour's `nack.PacketRing`, and for each
   `subscription.Subscription`
5. `fanout.forward`, once for all of them: writes SSRC, sequence and timestamp, encrypts, sends;
   what a batch of arrivals brings for one receiver leaves together at its end.

Where it was built, `inlet` goes from 1 to 5 in one compiled call when none of those modules would
have anything to decide: the usual packet of a track that flows.

Feedback goes the other way: `subscriber.Subscriber.receive_rtcp` answers NACK from the ring and
merges key frame requests into `Track.request_key_frame`; `Publisher.handle_timeout` sends NACK,
PLI, receiver reports, transport feedback and the bitrate limit; `Subscriber.handle_timeout` sends
the publisher's sender reports in each receiver's numbers, so that lips stay in step.

People come and go through `control` and `signaling`; what is charged leaves through `facts`.

**A number sent to a receiver never means two packets**: outgoing numbers are the track's plus a
shift that changes only when forwarding starts again, and a plain repeat is byte for byte the same.
AES-GCM depends on it.

Not supported: simulcast and SVC (spatial layers of VP9 and AV1 are forwarded together), an
estimate of what a receiver can take, forward error correction other than Opus's own.
"""

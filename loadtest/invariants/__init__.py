"""Does the chat keep its promises while everything around it breaks?

1. `hubs.HubProcess` runs a hub, or two on the Redis of `redis_servers`; a `proxy.FaultyProxy`
   stands between each and the people.
2. `people.Person` talks: sends with keys, sends again what was not acknowledged, comes back and
   recovers, and tells the judge everything it hears.
3. `faults.Schedule` kills and stops hubs, cuts, stalls and half-opens connections, steps clocks; a
   seed says which and when. Redis is killed, stopped, fails over and moves slots likewise.
4. At the end everything heals, everyone catches up, and a newcomer reads all there is.
5. `judge.Judge` has compared each thing heard with all others:

- an acknowledged message is at its offset, once, for everyone whose join said `recovered`;
- offsets are dense within an epoch, and one place holds one message, whoever looks;
- an epoch changes only where a join tells it, and never in a setting that keeps epochs;
- nothing acknowledged is lost: who reads at the end finds it, in the room or in the database;
- connections, rooms and descriptors are back where they began, and memory is flat.

It imports nothing of the product. The seed fixes what happens to whom in which order; the moment a
byte arrives is the machine's.
"""

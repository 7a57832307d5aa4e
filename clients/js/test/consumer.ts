// A program in TypeScript that uses the SDK by its declarations; it is compiled, never run.
import { type Message, Metaport, MetaportError } from "@metaport/chat";

export async function talk(token: () => Promise<string>): Promise<readonly Message[]> {
  const client = new Metaport({ server: "https://chat.example", token });
  await client.connection.connect();
  const room = client.room("plaza");
  try {
    await room.join({ history: 20, presence: true, state: true });
  } catch (error) {
    if (error instanceof MetaportError && error.reason === "room_full") return [];
    throw error;
  }
  const off = room.on("message", ({ message }: { message: Message }) => message.offset);
  const message: Message = room.send({ text: "안녕하세요" });
  room.setState("typing", null);
  const older: Message[] = await room.loadOlder(10);
  const members: Map<string, { user: string; name: string }> = room.members;
  off();
  await room.leave();
  // @ts-expect-error a room's name is no number
  client.room(7);
  // @ts-expect-error only what is offered can be wished
  await room.join({ histroy: 1 });
  return members.size > 0 ? [message, ...older] : room.messages;
}

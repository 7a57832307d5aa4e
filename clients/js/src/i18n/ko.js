/** Words of the SDK in Korean, for a page to show: connection states, message states, reasons. */
export default {
  connection: {
    idle: "연결 전",
    connecting: "연결하는 중",
    connected: "연결됨",
    waiting: "다시 연결하는 중",
    closed: "연결 끊김",
  },
  media: {
    idle: "참여 전",
    joining: "참여하는 중",
    joined: "참여 중",
    recovering: "다시 참여하는 중",
  },
  message: {
    sending: "보내는 중",
    sent: "보냄",
    failed: "보내지 못함",
    received: "받음",
  },
  reasons: {
    // connection
    unreachable: "서버에 연결할 수 없습니다.",
    disconnected: "연결이 끊겼습니다.",
    timeout: "서버의 응답이 없습니다.",
    closed: "연결이 종료되었습니다.",
    sign_in_failed: "로그인하지 못했습니다. 입력한 내용을 확인해 주세요.",
    bad_token: "로그인 정보가 올바르지 않습니다. 다시 입장해 주세요.",
    token_expired: "로그인 시간이 지났습니다. 다시 입장해 주세요.",
    token_lapsed: "로그인 시간이 지나 다시 연결합니다.",
    silent: "응답이 없어 연결이 끊겼습니다.",
    unsupported_version: "화면이 오래되었습니다. 새로 고쳐 주세요.",
    // messages
    not_sent_in_time: "연결이 오래 끊겨 보내지 못했습니다.",
    body_too_big: "글이 너무 깁니다. 나누어 보내 주세요.",
    bad_body: "보낼 수 없는 내용이 있습니다.",
    storage_full: "서버의 저장 공간이 부족합니다. 잠시 뒤에 다시 보내 주세요.",
    rate_limited: "너무 빨리 보내고 있습니다. 잠시 뒤에 다시 보내 주세요.",
    // rooms
    too_many_rooms: "더 이상 대화방에 들어갈 수 없습니다.",
    not_joined: "대화방에 들어가지 않았습니다.",
    bad_room: "대화방 이름에는 글자, 숫자, - _ . : / 만 쓸 수 있습니다.",
    forbidden: "이 대화방에 들어갈 권한이 없습니다.",
    // devices
    insecure_context: "보안 연결(HTTPS)에서만 마이크와 카메라를 쓸 수 있습니다.",
    permission_denied: "마이크나 카메라 사용이 허용되지 않았습니다. 주소창 옆의 권한 설정을 확인해 주세요.",
    device_missing: "장치를 찾을 수 없습니다. 연결되어 있는지 확인해 주세요.",
    device_busy: "다른 프로그램이 장치를 쓰고 있습니다.",
    device_failed: "장치를 켜지 못했습니다.",
    webrtc_missing: "이 브라우저에서는 음성·영상을 쓸 수 없습니다.",
    // media
    media_unreachable: "음성·영상 서버에 연결하지 못하고 있습니다. 네트워크가 막고 있을 수 있습니다.",
    media_unavailable: "음성·영상 서버가 준비되지 않았습니다. 곧 다시 시도합니다.",
    no_media: "음성·영상을 지금 쓸 수 없습니다. 잠시 뒤에 다시 시도해 주세요.",
    media_closed: "음성·영상 연결이 끊겨 다시 참여합니다.",
    too_many_participants: "음성·영상 참여 인원이 가득 찼습니다.",
    too_many_tracks: "더 이상 보낼 수 없습니다.",
    may_not_publish: "듣기만 할 수 있는 대화방입니다.",
    unsupported_codecs: "이 브라우저의 음성·영상 형식을 지원하지 않습니다.",
    internal: "서버에 문제가 생겼습니다. 잠시 뒤에 다시 시도해 주세요.",
  },
  unknown: "처리하지 못했습니다.",
};

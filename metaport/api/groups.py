"""Titles of the groups in which the API document shows its operations: one a module."""

from metaport.language import Say

GROUPS = {
    "accounts": Say("로그인과 토큰", "Sign-in and tokens"),
    "apps": Say("앱과 키", "Apps and keys"),
    "audit": Say("감사 기록", "Audit log"),
    "avatars": Say("프로필 사진", "Avatars"),
    "blocks": Say("차단한 사람", "Blocked people"),
    "chat": Say("채팅", "Chat"),
    "friends": Say("친구", "Friends"),
    "health": Say("상태", "Health"),
    "history": Say("지난 대화", "History"),
    "invitations": Say("초대", "Invitations"),
    "live_usage": Say("오늘의 사용량", "Usage of today"),
    "me": Say("내 계정", "My account"),
    "media": Say("음성·영상", "Voice and video"),
    "moderation": Say("제재", "Moderation"),
    "openapi": Say("이 문서", "This document"),
    "openid": Say("OpenID Connect", "OpenID Connect"),
    "participants": Say("참여자", "Participants"),
    "personal_data": Say("개인정보 내보내기와 삭제", "Export and erasure of personal data"),
    "revocation": Say("토큰 취소", "Revocation"),
    "rooms": Say("방", "Rooms"),
    "signing_in": Say("로그인", "Signing in"),
    "spaces": Say("공간", "Spaces"),
    "usage": Say("사용량", "Usage"),
    "user_sessions": Say("세션과 기기", "Sessions and devices"),
    "users": Say("계정 관리", "Accounts"),
    "webhooks": Say("웹훅", "Webhooks"),
    "whip": Say("WHIP·WHEP", "WHIP and WHEP"),
}

"""AppArmor: the profile of containers that name no other, and its way to the kernel."""

from services.containers.apparmor.loader import AppArmor
from services.containers.apparmor.profile import DEFAULT_PROFILE, container_profile, profile_text

__all__ = ["DEFAULT_PROFILE", "AppArmor", "container_profile", "profile_text"]

"""Containers that stand and fall together, by OTP's strategies."""

from services.containers.groups.labels import GROUP_LABELS as GROUP_LABELS
from services.containers.groups.labels import Membership as Membership
from services.containers.groups.labels import membership_of as membership_of
from services.containers.groups.rules import membership as membership
from services.containers.groups.supervision import Groups as Groups

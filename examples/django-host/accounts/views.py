"""What our users can do. What humanuser refuses is told by ``RefusalsAreTold``."""

from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from accounts.identity import BY, POLICY, identity, identity_transaction
from accounts.models import Customer
from humanuser import HumanUserAdded, parse_phone_number


@require_POST
def sign_up(request: HttpRequest) -> HttpResponse:
    """Django's user and humanuser's are added together, or neither."""
    form = UserCreationForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"refused": form.errors}, status=400)
    with identity_transaction() as users:
        user = form.save()
        users.commands.add_human_user(str(user.pk), HumanUserAdded(user_name=user.username), by=BY)
    login(request, user)
    return JsonResponse({"id": user.pk}, status=201)


@require_POST
@login_required
def change_phone(request: HttpRequest) -> HttpResponse:
    """The number changes for humanuser and for our support, or for neither: somebody else's rolls back both."""
    number = parse_phone_number(request.POST.get("phone", ""), POLICY.phone).e164
    try:
        with identity_transaction() as users:
            users.commands.change_phone(str(request.user.pk), number, by=BY)
            Customer.objects.update_or_create(user=request.user, defaults={"phone": number})
    except IntegrityError:
        return JsonResponse({"refused": "somebody else has this number"}, status=409)
    return HttpResponse(status=204)


@require_POST
@login_required
@transaction.non_atomic_requests
def verify_phone(request: HttpRequest) -> HttpResponse:
    """The number is proven in a transaction of humanuser's own: a wrong code counts, whatever is rolled back here."""
    identity().commands.verify_phone(str(request.user.pk), request.POST.get("code", ""), by=BY)
    return HttpResponse(status=204)

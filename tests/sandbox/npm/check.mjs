// Drives the sandbox with stripe-node as it is: create, page, subscribe, be refused.
import Stripe from "stripe";

const client = new Stripe(process.env.KEY, {
  host: "127.0.0.1",
  port: process.env.PORT,
  protocol: "http",
  maxNetworkRetries: 0,
});

const customer = await client.customers.create({email: "node@example.com", metadata: {a: "1"}});
const card = await client.paymentMethods.attach("pm_card_visa", {customer: customer.id});
const product = await client.products.create({name: "Club"});
const price = await client.prices.create({
  product: product.id, currency: "usd", unit_amount: 1000, recurring: {interval: "month"},
});
const wanted = {
  customer: customer.id,
  items: [{price: price.id, quantity: 2}],
  default_payment_method: card.id,
  expand: ["latest_invoice.payments"],
};
const once = {idempotencyKey: "subscribe"};
const subscription = await client.subscriptions.create(wanted, once);
const repeated = await client.subscriptions.create(wanted, once);

let events = 0;
for await (const event of client.events.list({limit: 3})) events += event.object === "event" ? 1 : 0;

let refused = null;
try {
  await client.paymentMethods.attach("pm_card_chargeDeclinedLostCard", {customer: customer.id})
    .catch(() => client.paymentMethods.attach("pm_card_visa_chargeDeclinedLostCard", {customer: customer.id}));
} catch (error) {
  refused = [error.type, error.code, error.decline_code];
}

console.log(JSON.stringify({
  status: subscription.status,
  total: subscription.latest_invoice.total,
  payments: subscription.latest_invoice.payments.data.length,
  same: subscription.id === repeated.id,
  events,
  refused,
}));

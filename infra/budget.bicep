// A budget over the resource groups of this environment. It only sends e-mail, and stops nothing.
targetScope = 'subscription'

@description('Name of the budget.')
param name string

@description('What may be spent in a month, in the currency of the subscription.')
param amount int

@description('First day, yyyy-MM-01; must stay what it was.')
param startDate string

@description('Names of the resource groups that count.')
param resourceGroups string[]

@description('Who gets e-mail besides the owners of the subscription; empty for nobody.')
param alertEmail string

var emails = empty(alertEmail) ? [] : [alertEmail]

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = {
  name: name
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: { startDate: startDate }
    filter: { dimensions: { name: 'ResourceGroupName', operator: 'In', values: resourceGroups } }
    notifications: {
      half: { enabled: true, operator: 'GreaterThanOrEqualTo', threshold: 50, contactEmails: emails, contactRoles: ['Owner'] }
      most: { enabled: true, operator: 'GreaterThanOrEqualTo', threshold: 80, contactEmails: emails, contactRoles: ['Owner'] }
      all: { enabled: true, operator: 'GreaterThanOrEqualTo', threshold: 100, contactEmails: emails, contactRoles: ['Owner'] }
      forecast: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: emails
        contactRoles: ['Owner']
      }
    }
  }
}
